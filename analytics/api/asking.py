"""What endpoints share: whom to ask, and about which days."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from fastapi import Depends, Query, Request

from analytics.views import Reader


def _reader(request: Request) -> Reader:
    reader: Reader = request.app.state.reader
    return reader


Asking = Annotated[Reader, Depends(_reader)]
FirstDay = Annotated[
    dt.date | None, Query(alias="from", description="first operating day; default: the first there is")
]
LastDay = Annotated[dt.date | None, Query(alias="to", description="last operating day, included; default: the newest")]
