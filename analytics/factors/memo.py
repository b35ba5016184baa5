"""Answers that are kept, because they hold for many vehicle-days.

Of the days of a table's edition period, from the start of one edition to the start of the next, all have the same
factors. So an answer is kept by the table, the period and the facts asked about.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Generic, TypeVar

import polars as pl

Facts = TypeVar("Facts")
Answer = TypeVar("Answer")

TABLES = 4
"""Tables of which answers are kept: the one that ships, a programme's own, and those of closed periods."""
ANSWERS = 5000
"""Answers kept of one table. A case is some kilobytes, most of them words."""


class Memo(Generic[Facts, Answer]):
    """Answers to (day, facts), which `find` gives for many at once.

    Facts and answers must be immutable, and an answer may depend on the day by the edition period alone.
    """

    def __init__(
        self,
        find: Callable[[Sequence[tuple[dt.date, Facts]], pl.DataFrame], Mapping[tuple[dt.date, Facts], Answer]],
        tables: int = TABLES,
        answers: int = ANSWERS,
    ) -> None:
        """Keep at most so many answers of each of so many tables, those used last."""
        self._find, self._tables, self._answers = find, tables, answers
        self._recent: list[_OfTable[Facts, Answer]] = []
        self._lock = Lock()

    def answers(self, asked: Sequence[tuple[dt.date, Facts]], table: pl.DataFrame) -> list[Answer]:
        """The answer to each of `asked`, in order. Those not yet known are found together."""
        if not asked:
            return []
        with self._lock:
            kept = self._of(table)
            questions = [(kept.period(day), facts) for day, facts in asked]
            known = kept.known(questions)
        unknown = list(dict.fromkeys(question for question in questions if question not in known))
        if unknown:
            found = self._find(unknown, table)
            known |= found
            with self._lock:
                kept.keep(found, self._answers)
        return [known[question] for question in questions]

    def kept(self) -> list[int]:
        """How many answers are kept of each table, the one used last first."""
        return [len(of_table.answers) for of_table in self._recent]

    def _of(self, table: pl.DataFrame) -> _OfTable[Facts, Answer]:
        # Every job reads its table anew, so the same rows come in many frames.
        same = next((kept for kept in self._recent if kept.table is table), None) or next(
            (kept for kept in self._recent if kept.table.equals(table)), None
        )
        found = same or _OfTable(table)
        found.table = table
        self._recent = [found, *(kept for kept in self._recent if kept is not found)][: self._tables]
        return found


class _OfTable(Generic[Facts, Answer]):
    """The answers of one table, and the days on which its editions start."""

    def __init__(self, table: pl.DataFrame) -> None:
        self.table = table
        self.starts: list[dt.date] = table["starts_on"].unique().sort().to_list()
        self.answers: OrderedDict[tuple[dt.date, Facts], Answer] = OrderedDict()

    def period(self, day: dt.date) -> dt.date:
        """The first day of a day's edition period."""
        before = bisect_right(self.starts, day)
        return self.starts[before - 1] if before else dt.date.min

    def known(self, questions: Sequence[tuple[dt.date, Facts]]) -> dict[tuple[dt.date, Facts], Answer]:
        known = {question: self.answers[question] for question in questions if question in self.answers}
        for question in known:
            self.answers.move_to_end(question)
        return known

    def keep(self, found: Mapping[tuple[dt.date, Facts], Answer], most: int) -> None:
        self.answers.update(found)
        while len(self.answers) > most:
            self.answers.popitem(last=False)
