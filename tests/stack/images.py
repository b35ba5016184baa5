"""The images of the stack: the project's own from its Dockerfile; the others as published.

Where no registry of images is reached, they are made of Debian's packages instead.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from schemas.local import packages
from tests.stack.engine import Engine, NoEngineError

CHECKOUT = Path(__file__).resolve().parents[2]
BASE = "debian:trixie-slim"
MADE_HERE = "beachhead-base:trixie"
PULL_S = 60
STAND_INS = ("timescaledb", "proxy", "broker", "prometheus")
VERSION = "test"


def build(engine: Engine) -> dict[str, str]:
    """Build everything; return what compose must be told. What is built already, and unchanged, is not built again."""
    variables, base = {"STACK_VERSION": VERSION}, BASE
    if not _can_pull(engine, BASE):
        _make_base(engine)
        base = variables["STACK_BASE"] = MADE_HERE
        variables |= {f"STACK_{name.upper()}_IMAGE": f"beachhead-test-{name}" for name in STAND_INS}
    with _secrets() as secrets, ThreadPoolExecutor(3) as builders:
        building = [
            builders.submit(_build, engine, "docker/Dockerfile", name, f"beachhead-{name}:{VERSION}", base, secrets)
            for name in ("write", "airflow")
        ]
        if base == MADE_HERE:
            building.append(builders.submit(_build_stand_ins, engine))
        for built in building:
            built.result()
    return variables


def _build_stand_ins(engine: Engine) -> None:
    for name in STAND_INS:
        _build(engine, "tests/stack/Dockerfile", name, f"beachhead-test-{name}", MADE_HERE, context="tests/stack")


def _build(
    engine: Engine, file: str, target: str, tag: str, base: str, secrets: tuple[str, ...] = (), context: str = "."
) -> None:
    engine.docker(
        "build", "--quiet", "--file", str(CHECKOUT / file), "--target", target, "--tag", tag,
        "--build-arg", f"BASE={base}", *secrets, str(CHECKOUT / context), timeout_s=1200,
    )  # fmt: skip


def _can_pull(engine: Engine, image: str) -> bool:
    try:
        engine.docker("pull", "--quiet", image, timeout_s=PULL_S)
    except (RuntimeError, subprocess.TimeoutExpired):
        return False
    return True


def _make_base(engine: Engine) -> None:
    """A minimal Debian, made by debootstrap from the mirror of the machine's own apt."""
    if engine.docker("images", "--quiet", MADE_HERE).strip():
        return
    if shutil.which("debootstrap") is None:
        raise NoEngineError("no registry of images is reached, and debootstrap is not installed")
    with tempfile.TemporaryDirectory() as work:
        root = Path(work) / "root"
        _bootstrap(root)
        command = ["docker", "import", "-", MADE_HERE]
        with subprocess.Popen(["tar", "--directory", root, "--create", "."], stdout=subprocess.PIPE) as tar:
            subprocess.run(command, env=dict(engine.environment), stdin=tar.stdout, check=True, capture_output=True)


def _bootstrap(root: Path) -> None:
    for mirror in packages.mirrors():
        command = ["debootstrap", "--variant=minbase", f"--keyring={packages.KEYRING}", packages.SUITE, root, mirror]
        if subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL).returncode == 0:
            for unneeded in ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"):
                shutil.rmtree(root / unneeded, ignore_errors=True)
            return
        shutil.rmtree(root, ignore_errors=True)
    raise NoEngineError("Debian's mirror does not give a base image")


@contextmanager
def _secrets() -> Iterator[tuple[str, ...]]:
    """The index and the certificates that pip is set up with here, for the build's steps alone."""
    with tempfile.TemporaryDirectory() as folder:
        index, certificates = Path(folder) / "index", _pip("cert", "PIP_CERT") or os.environ.get("SSL_CERT_FILE")
        index.write_text(_pip("index-url", "PIP_INDEX_URL"))
        given = [f"--secret=id=index,src={index}"]
        if certificates and Path(certificates).is_file():
            given.append(f"--secret=id=certificates,src={certificates}")
        yield tuple(given)


def _pip(name: str, variable: str) -> str:
    if variable in os.environ:
        return os.environ[variable]
    told = subprocess.run(
        [".venv/bin/pip", "config", "get", f"global.{name}"], cwd=CHECKOUT, capture_output=True, text=True
    )
    return told.stdout.strip() if told.returncode == 0 else ""
