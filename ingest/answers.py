"""What the receiver tells gateways of their uploads and of themselves."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from urllib.parse import urlencode

from ingest import store
from ingest.checks.scope import Scope
from ingest.receiver import Receiver
from schemas import database
from schemas.errors import NotAllowedError, NotFoundError, UnavailableError
from schemas.signals import SIGNALS
from schemas.wire import GatewayInfo, GatewayVehicleInfo, Receipt, Receipts, Rejects


@dataclass(frozen=True)
class Wanted:
    """Which receipts a gateway asks for."""

    since: dt.datetime | None
    vehicle: str | None
    after: int
    limit: int


def _told_now(stored: store.Stored) -> Receipt:
    return Receipt.model_validate({**stored, "server_time": dt.datetime.now(dt.UTC)})


def receipt(receiver: Receiver, scope: Scope, upload_id: uuid.UUID) -> Receipt:
    """One receipt of the gateway's.

    Raises:
        NotFoundError: it made no such upload.
    """
    return receipt_of(receiver, scope.gateway_id, upload_id)


def receipt_of(receiver: Receiver, gateway_id: int, upload_id: uuid.UUID) -> Receipt:
    """One receipt of a gateway's, as the ledger has it, or of an upload that waits for the database.

    Raises:
        NotFoundError: it made no such upload.
        UnavailableError: the database is away, and the upload does not wait for it.
    """
    try:
        return _loaded_receipt(receiver, gateway_id, upload_id)
    except (NotFoundError, UnavailableError) as error:
        ticket = receiver.waiting.find(upload_id, gateway_id)
        if ticket is not None:
            return ticket.receipt()
        if isinstance(error, UnavailableError):
            raise
    # It may have been loaded between the two looks.
    return _loaded_receipt(receiver, gateway_id, upload_id)


def _loaded_receipt(receiver: Receiver, gateway_id: int, upload_id: uuid.UUID) -> Receipt:
    with receiver.transaction() as db:
        return _told_now(store.stored_receipt(db, gateway_id, upload_id))


def receipts(receiver: Receiver, scope: Scope, wanted: Wanted) -> Receipts:
    """Receipts of the gateway's, one page.

    Raises:
        NotAllowedError: the vehicle is none of the gateway's.
    """
    vehicle_id = _vehicle_id(scope, wanted.vehicle) if wanted.vehicle is not None else None
    filters = store.ReceiptsWanted(wanted.since, vehicle_id, wanted.after, wanted.limit)
    with receiver.transaction() as db:
        found = store.stored_receipts(db, scope.gateway_id, filters)
    given = {"since": wanted.since.isoformat() if wanted.since else None, "vehicle": wanted.vehicle}
    same = {name: value for name, value in given.items() if value is not None}
    return Receipts(
        uploads=[_told_now(stored) for _, stored in found],
        next_url=_next("/v1/uploads", [number for number, _ in found], wanted.limit, same),
    )


def rejects(receiver: Receiver, scope: Scope, upload_id: uuid.UUID, after: int, limit: int) -> Rejects:
    """Rejects of one of the gateway's uploads, one page.

    Raises:
        NotFoundError: it made no such upload.
    """
    with receiver.transaction() as db:
        found = store.stored_rejects(db, scope.gateway_id, upload_id, after, limit)
    next_url = _next(f"/v1/uploads/{upload_id}/rejects", [number for number, _ in found], limit, {})
    return Rejects(rejects=[reject for _, reject in found], next_url=next_url)


def _next(path: str, numbers: list[int], limit: int, same: dict[str, str]) -> str | None:
    if len(numbers) < limit:
        return None
    return f"{path}?{urlencode({**same, 'after': numbers[-1], 'limit': limit})}"


def _vehicle_id(scope: Scope, address: str) -> int:
    found = scope.names.filter(address=address)["vehicle_id"]
    if found.is_empty():
        raise NotAllowedError(f"{address} is not a vehicle of this key")
    return int(found[0])


def gateway(receiver: Receiver, scope: Scope) -> GatewayInfo:
    """What the gateway may do and should know."""
    with receiver.transaction() as db:
        vehicles = store.vehicle_details(db, list(scope.vehicle_names))
    return GatewayInfo(
        gateway=scope.gateway,
        pilot=scope.pilot,
        server_time=dt.datetime.now(dt.UTC),
        vehicles=[
            GatewayVehicleInfo(vehicle=name, aliases=aliases, sample_period_s=period_s)
            for name, period_s, aliases in vehicles
        ],
        wanted_signals=list(SIGNALS),
        max_body_bytes=receiver.limits.body_bytes,
        max_rows=receiver.limits.rows,
        max_fields=receiver.limits.fields,
        max_log_bytes=receiver.settings.max_log_bytes,
        max_part_bytes=receiver.settings.max_body_bytes,
        max_requests_per_s=receiver.settings.gateway_requests_per_s,
        max_bytes_per_s=receiver.settings.gateway_bytes_per_s,
    )


def ready(receiver: Receiver) -> None:
    """Return if uploads can be made durable: in the database, or until it is back in the landing store.

    Raises:
        UnavailableError: neither can be written, or others wait already and no more can.
    """
    if not _can_load(receiver) or not receiver.waiting.is_empty():
        receiver.waiting.check()


def _can_load(receiver: Receiver) -> bool:
    try:
        with receiver.transaction() as db:
            database.require_writes(db)
    except UnavailableError as error:
        if not database.takes_no_writes(error) and not receiver.keys.knows_any():
            raise  # nobody could be let in
        return False
    return True
