"""Which PostgreSQL runs here, and how it is started as root."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from schemas.errors import LocalServerError
from schemas.local import packages
from schemas.local.progress import Reporter

OLDEST_MAJOR = 15


@dataclass(frozen=True)
class Programs:
    """PostgreSQL's programs of one installation that has TimescaleDB."""

    folder: Path
    major: int
    origin: str  # "installed" or "unpacked"

    def path(self, name: str) -> str:
        """Return the path of one program."""
        return str(self.folder / name)


def find(cache_folder: Path, report: Reporter) -> Programs:
    """Return an installed PostgreSQL with TimescaleDB, else one unpacked from Debian's packages.

    Raises `LocalServerError` when there is neither.
    """
    installed = _installed()
    if installed is not None:
        return installed
    packages.unpack(cache_folder, report)
    return Programs(packages.patch(cache_folder), packages.POSTGRESQL_MAJOR, "unpacked")


def prefetch(cache_folder: Path) -> None:
    """Unpack the packages if `find` would need them; a part of an installation, before anything else is installed."""
    if _installed() is None:
        packages.unpack(cache_folder)


def as_server(*command: str) -> list[str]:
    """Return the command in a form PostgreSQL accepts: as root, inside a user namespace where we are somebody else.

    Another user could not serve, because data and programs may lie in a folder only root may enter.
    """
    if os.geteuid() != 0:
        return list(command)
    return [*_unshare(), *command]


def require_startable() -> None:
    """Raise `LocalServerError` when we are root and the kernel denies user namespaces."""
    if os.geteuid() == 0 and not _may_unshare():
        raise LocalServerError(
            "PostgreSQL does not run as root, and user namespaces are denied here: "
            "run this as an ordinary user, or set BEACHHEAD_DATABASE_URL to a TimescaleDB of yours."
        )


@cache
def _may_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*_unshare(), "true"], capture_output=True).returncode == 0


def _unshare() -> list[str]:
    # initdb wants a user with a name, so the number is one the machine knows.
    user = next(entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0)
    return ["unshare", "--user", f"--map-user={user}", "--"]


def _installed() -> Programs | None:
    return next(filter(None, map(_with_timescaledb, _installed_pg_configs())), None)


def _installed_pg_configs() -> Iterator[str]:
    on_path = shutil.which("pg_config")
    if on_path is not None:
        yield on_path
    for folder in (Path("/usr/lib/postgresql"), Path("/usr")):
        pattern = "*/bin/pg_config" if folder.name == "postgresql" else "pgsql-*/bin/pg_config"
        yield from sorted((str(path) for path in folder.glob(pattern)), reverse=True)


def _with_timescaledb(pg_config: str) -> Programs | None:
    answer = subprocess.run([pg_config, "--bindir", "--sharedir", "--version"], capture_output=True, text=True)
    lines = answer.stdout.splitlines()
    if answer.returncode or len(lines) != 3:
        return None
    folder, control = Path(lines[0]), Path(lines[1]) / "extension" / "timescaledb.control"
    version = re.search(r"\d+", lines[2])
    if version is None or int(version[0]) < OLDEST_MAJOR or not control.exists() or not (folder / "initdb").exists():
        return None
    return Programs(folder, int(version[0]), "installed")


if __name__ == "__main__":
    prefetch(Path(sys.argv[1]).resolve())
