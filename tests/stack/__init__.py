"""The whole stack, on a real Docker engine."""
