"""The other end of the wire: a client that pushes uploads, and a fleet that makes them up."""
