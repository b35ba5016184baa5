"""The read side: numbers out."""
