"""Tables for people."""

from __future__ import annotations

import uuid

import pytest

from pipelines.commands import output


def test_an_id_is_shown_in_full_however_narrow_the_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "WIDE", 60)
    id_ = uuid.uuid4()
    output.show([{"upload": id_, **{f"a long heading {n}": "with a long value" for n in range(5)}}], as_json=False)
    assert str(id_) in capsys.readouterr().out
