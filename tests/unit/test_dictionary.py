"""The data dictionary says what the models say."""

from pathlib import Path

from schemas.dictionary import document
from schemas.signals import SIGNALS
from schemas.tables import Base, telemetry

PAGE = Path(__file__).resolve().parents[2] / "docs" / "data-dictionary.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == document(), "write it anew: .venv/bin/python -m schemas.dictionary"


def test_every_table_says_what_one_row_is() -> None:
    page = document()
    for table in Base.metadata.tables.values():
        text = page.split(f"\n## {table.name}\n")[1].strip()
        assert not text.startswith("|"), table.name


def test_telemetry_has_one_column_per_signal_in_catalogue_order() -> None:
    assert [column.name for column in telemetry.columns] == ["vehicle_id", "time", *SIGNALS]
