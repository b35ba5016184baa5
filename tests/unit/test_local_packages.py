"""Which of Debian's packages are taken, and what runs before anything is installed."""

import subprocess
import sys
from pathlib import Path

import pytest

from schemas.local import packages
from schemas.local.cluster import SETTINGS, UNSAFE_SETTINGS

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "name", ["postgresql-17", "postgresql-17-timescaledb", "libc6", "libicu76", "zlib1g", "libpq5"]
)
def test_the_server_and_its_libraries_are_taken(name):
    assert packages._is_wanted(name)


@pytest.mark.parametrize(
    "name", ["perl", "libllvm19", "libz3-4", "libjson-perl", "libperl5.40", "adduser", "locales", "libc-bin"]
)
def test_what_the_server_does_not_need_is_left_out(name):
    assert not packages._is_wanted(name)


def test_names_come_from_apts_simulation():
    simulated = "Inst libc6 (2.41-12 Debian:13/stable [amd64])\nInst zlib1g (1 x)\nConf libc6 (2.41-12 x)\n"
    assert packages._simulated_names(simulated) == ["libc6", "zlib1g"]


def test_mirrors_are_those_of_the_machine_its_release_before_updates(monkeypatch):
    listed = "\n".join(
        [
            "http://b.example/debian-security/|bookworm-security|main",
            "http://a.example/debian/|bookworm|main",
            "http://a.example/debian/|bookworm-updates|main",
            "http://c.example/tools/|nodistro|contrib",
        ]
    )
    monkeypatch.setattr(packages, "_output", lambda *command: listed)
    assert packages.mirrors() == ["http://a.example/debian/", "http://b.example/debian-security/"]


def test_private_apt_checks_signatures_and_keeps_only_the_machines_way_to_the_network(tmp_path, monkeypatch):
    proxy = 'Acquire::http::Proxy "http://proxy.example:3128";\n'
    dumped = proxy + 'APT::Update::Post-Invoke:: "rm -rf x";\nAPT::Default-Release "y";\n'
    monkeypatch.setattr(packages, "_output", lambda *command: dumped)
    packages._Apt(tmp_path).configure("http://a.example/debian/", "amd64")
    source = (tmp_path / "sources.list").read_text()
    configuration = (tmp_path / "apt.conf").read_text()
    assert source == f"deb [arch=amd64 signed-by={packages.KEYRING}] http://a.example/debian/ trixie main\n"
    assert "AllowUnauthenticated" not in configuration
    assert configuration.startswith(proxy)
    assert "Post-Invoke" not in configuration
    assert "Default-Release" not in configuration
    assert 'Dir::Etc::Parts "/dev/null";' in configuration
    assert f'Dir::State::Lists "{tmp_path}/lists";' in configuration


@pytest.mark.parametrize("module", ["schemas.local.programs", "schemas.local.packages"])
def test_prefetch_needs_no_installed_package(module):
    program = f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); import {module}"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True)
    assert done.stderr == ""


def test_data_is_durable_unless_a_test_asks_otherwise():
    assert not SETTINGS.keys() & UNSAFE_SETTINGS.keys()
    assert SETTINGS["timescaledb.telemetry_level"] == "off"
    assert SETTINGS["listen_addresses"] == "127.0.0.1"
