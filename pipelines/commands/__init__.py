"""The parts of the `beachhead` command, one module per group. They parse, call and print."""
