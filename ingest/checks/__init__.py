"""Checks of decoded rows against catalogue and registry: columns as sent -> canonical rows, extras, rejects. Pure."""
