"""Measured speed, beside others' in the same run."""
