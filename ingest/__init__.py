"""The write side: bytes in, rows and a receipt out."""
