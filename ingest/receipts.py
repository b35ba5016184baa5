"""What a gateway is told of an upload of rows."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass

import numpy as np
import polars as pl

from ingest.checks.rows import Checked
from ingest.classify import Outcome, RowClass
from schemas.errors import RejectedRow
from schemas.wire import Receipt, Reject, RowCounts

REJECTS_IN_RECEIPT = 100
TAKEN_BACK = "this upload was taken back by an operator: nothing of it is stored"


@dataclass(frozen=True)
class Upload:
    """One upload on its way in: `sha256` and `size_bytes` of its uncompressed body, `query` of what changes it."""

    id: uuid.UUID
    gateway_id: int
    sha256: bytes
    query: str
    content_type: str
    size_bytes: int
    received_at: dt.datetime
    idempotency_key: str | None


def as_duplicate(receipt: Receipt) -> Receipt:
    """A stored receipt as it is told again."""
    warnings = [*receipt.warnings, TAKEN_BACK] if receipt.status == "void" else receipt.warnings
    return receipt.model_copy(update={"status": "duplicate", "warnings": warnings})


def receipt_of(
    upload: Upload, checked: Checked, outcome: Outcome, rejects: pl.DataFrame, late_after_s: int,
    vehicle_names: dict[int, str],
) -> Receipt:  # fmt: skip
    """What the gateway is told of rows that were stored."""
    classes = outcome.classes
    latest_late = upload.received_at - dt.timedelta(seconds=late_after_s)
    counts = np.bincount(classes["row_class"].to_numpy(), minlength=len(RowClass)).tolist()
    first, last = classes["time"].min(), classes["time"].max()
    in_loaded_rows = rejects.filter(pl.col("row").is_in(classes["row"].implode())).height if rejects.height else 0
    return Receipt(
        upload_id=upload.id,
        sha256=upload.sha256.hex(),
        status="loaded",
        received_at=upload.received_at,
        server_time=upload.received_at,
        rows=RowCounts(
            received=checked.received,
            accepted=counts[RowClass.ACCEPTED],
            merged=counts[RowClass.MERGED],
            duplicate=counts[RowClass.DUPLICATE],
            conflicting=counts[RowClass.CONFLICTING],
            rejected=checked.rejected,
            late=int((classes["time"] < latest_late).sum()),
        ),
        fields_rejected=in_loaded_rows,
        first_time=first,
        last_time=last,
        vehicles=sorted(vehicle_names[id_] for id_ in np.unique(classes["vehicle_id"].to_numpy()).tolist()),
        extra_signals=checked.extras["name"].unique().sort().to_list() if checked.extras.height else [],
        rejects=first_rejects(rejects),
        rejects_url=f"/v1/uploads/{upload.id}/rejects" if rejects.height else None,
    )


def first_rejects(rejects: pl.DataFrame) -> list[Reject]:
    """The first rejects in wire form."""
    if not rejects.height:
        return []
    fields = rejects.head(REJECTS_IN_RECEIPT).select("row", "field", "value", "reason")
    return [Reject(**row) for row in fields.iter_rows(named=True)]


def why_failed(receipt: Receipt) -> str:
    """What is said of an upload whose every row has an impossible time, and what to do."""
    reason = receipt.rejects[0].reason if receipt.rejects else "every time is out of range"
    return (
        f"none of the {receipt.rows.received} rows can be used: {reason}. The bytes are kept as upload"
        f" {receipt.upload_id}: if a clock was wrong, `beachhead upload requeue` puts it right"
    )


def rejected_rows(rejects: pl.DataFrame) -> list[RejectedRow]:
    """The first rejects as errors carry them."""
    fields = rejects.head(REJECTS_IN_RECEIPT).select("row", "field", "value", "reason")
    return [RejectedRow(**row) for row in fields.iter_rows(named=True)]
