"""Whether the process lives, and whether it can answer."""

from __future__ import annotations

from fastapi import APIRouter

from analytics.api.asking import Asking

router = APIRouter(tags=["health"])


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """Alive."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(reader: Asking) -> dict[str, str]:
    """Ready: the database answers."""
    reader.ping()
    return {"status": "ok"}
