"""Emission and fuel factors as tables: every row with unit, boundary, gases, year, edition, source and confidence."""
