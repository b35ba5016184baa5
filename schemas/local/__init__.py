"""A real TimescaleDB on this machine, without Docker where Debian's packages serve.

`schemas.local.server` is the door: `open_server(folder)`, then `up`, `down`, `status`, `url`.
`schemas.local.packages` needs the standard library alone, so an installer can run it before anything is installed.
"""
