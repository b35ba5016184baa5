"""CAN logs made up by the tests: buses, and writers of every format."""
