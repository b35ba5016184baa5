"""The floor: what the data is. Imports nothing else of this project."""
