"""The installer says in one sentence what is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path):
    """As much of a checkout as the installer reads."""
    (tmp_path / ".ci").mkdir()
    for name in (".ci/install", "requirements.lock", "pyproject.toml"):
        shutil.copy(CHECKOUT / name, tmp_path / name)
    return tmp_path


def _install(checkout, python, **variables):
    done = subprocess.run(
        [checkout / ".ci" / "install"],
        env={**os.environ, "PYTHON": str(python), **variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert not (checkout / ".venv" / "installed").exists()
    return done.stderr.splitlines()


def _program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_an_old_python(checkout):
    old = _program(checkout / "python3", 'case "$*" in *version_info*) exit 1;; esac')
    assert _install(checkout, old) == [
        "install: Python 3.11 or newer is needed, and none is found on PATH: "
        "install it (on Debian 12 or 13: apt-get install python3 python3-venv)."
    ]


def test_a_python_without_venv(checkout):
    bare = _program(checkout / "python3", 'case "$*" in *ensurepip*) exit 1;; esac')
    _program(checkout / "apt-get", "exit 100")
    *_, last = _install(checkout, bare, PATH=f"{checkout}:{os.environ['PATH']}")
    if os.geteuid() == 0:
        assert last.startswith("install: Python's venv could not be installed: check the network")
    else:
        assert last == "install: Python's venv is missing: install it (on Debian: apt-get install python3-venv)."


def test_no_network(checkout):
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_NO_CACHE_DIR": "1"}
    first, last = _install(checkout, sys._base_executable, **nowhere)
    assert first.startswith("making .venv with Python 3.")
    assert last.startswith("install: the package index cannot be reached: check the network, or pip's settings")


def test_nothing_is_downloaded_without_its_hash():
    lines = (CHECKOUT / "requirements.lock").read_text().splitlines()
    pinned = [line for line in lines if line and line[0] not in " #"]
    assert pinned
    assert all("==" in line and line.endswith("\\") for line in pinned)
    assert not any("://" in line for line in lines)
