"""The command's surface: help on every level, exit codes, and faults told in one sentence."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import COMMANDS, _load, typer_app

BEACHHEAD = Path(sys.executable).with_name("beachhead")
GROUPS = {
    "db": ("up", "down", "status", "url"), "serve": ("ingest", "analytics"), "pilot": ("import", "list", "show"),
    "factors": ("import", "list", "show", "remove"),
    "records": ("import",), "key": ("create", "rotate", "list", "revoke"), "upload": ("list", "show"),
    "gateway": ("show",),
}  # fmt: skip


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(typer_app, list(arguments))
    return done.exit_code, done.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    code, output = run(name, "--help")
    assert code == 0
    assert f"beachhead {name}" in output
    for part in GROUPS.get(name, ()):
        assert run(name, part, "--help")[0] == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_begins_as_the_list_of_commands_says(name: str) -> None:
    line = COMMANDS[name][1]
    assert (_load(name).help or "").replace("\n", " ").startswith(line.rstrip("."))


def test_wrong_usage_is_2() -> None:
    assert run("nonsense")[0] == 2
    assert run("compute", "--stale", "--vehicle", "x")[0] == 2
    assert run("db", "url", "--role", "nobody")[0] == 2


def command(tmp_path: Path, *arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "BEACHHEAD_HOME": str(tmp_path / "home"), **given}
    return subprocess.run(
        [str(BEACHHEAD), *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )


def test_without_a_database_it_says_what_to_do(tmp_path: Path) -> None:
    done = command(tmp_path, "pilot", "list")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "beachhead: There is no local database yet: run `beachhead db up`.\n"


def test_a_server_of_somebody_else_is_not_said_to_be_stopped(tmp_path: Path) -> None:
    done = command(tmp_path, "db", "down", BEACHHEAD_DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "The server that BEACHHEAD_DATABASE_URL names is not of this checkout: it still runs.\n"


def test_an_unreachable_database_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("BEACHHEAD_DATABASE_URL=postgresql://x:secret@127.0.0.1:9/x\n")
    done = command(tmp_path, "migrate")
    assert done.returncode == 1
    assert done.stderr.startswith("beachhead: the database cannot be reached: run `beachhead db up`")
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = command(tmp_path, "serve", "analytics", "--port", port)
    assert done.returncode == 1
    assert done.stderr == f"beachhead: 127.0.0.1:{port} cannot be used (Address already in use): " \
        "choose another with --port.\n"  # fmt: skip


def imported_by(program: str) -> set[str]:
    """The top-level modules that a fresh process has when the program ends."""
    told = "import sys; print('\\n' + ' '.join({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", f"{program}\n{told}"], check=True, capture_output=True, text=True)
    return set(done.stdout.splitlines()[-1].split())


def test_the_list_of_commands_waits_for_no_command() -> None:
    program = "from pipelines.cli import typer_app\ntry: typer_app(['--help'])\nexcept SystemExit: pass"
    assert not {"polars", "pyarrow", "fastapi", "pydantic"} & imported_by(program)


@pytest.mark.parametrize(("module", "unused"), [
    ("ingest.app", {"cantools", "pandas", "alembic"}), ("ingest.server", {"polars"}), ("analytics.server", {"polars"}),
    ("pipelines.commands.keys", {"alembic", "pandas"}),
])  # fmt: skip
def test_what_a_start_does_not_need_is_not_waited_for(module: str, unused: set[str]) -> None:
    assert not unused & imported_by(f"import {module}")
