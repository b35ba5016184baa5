"""Emission and fuel factors as tables: every row with value, unit, boundary, gases, year, edition, source, confidence."""
