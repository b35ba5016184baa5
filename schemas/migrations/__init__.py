"""Alembic migrations. Each is guarded by timeouts and one advisory lock, and can be taken back."""
