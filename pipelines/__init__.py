"""Jobs: read a window, call the pure metrics, replace the window. And the `beachhead` command."""
