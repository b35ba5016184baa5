"""A real S3 server in a process of its own, with a bucket and a key."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BUCKET, ACCESS_KEY = "fleet", "tests"
PATIENCE_S = 90


@dataclass
class S3Server:
    """SeaweedFS on a folder. It may be killed and started again: its address and what it keeps stay."""

    folder: Path
    secret_key: str
    ports: list[int] = field(default_factory=lambda: _free_ports(8))
    host: str = "127.0.0.1"
    _process: subprocess.Popen[bytes] | None = None

    def settings(self, prefix: str, scratch: Path) -> dict[str, Any]:
        """The settings of a landing store in it."""
        return {
            "landing_url": f"s3://{BUCKET}/{prefix}", "landing_endpoint": f"http://{self.host}:{self.ports[0]}",
            "landing_region": "us-east-1", "landing_access_key": ACCESS_KEY, "landing_secret_key": self.secret_key,
            "landing_scratch": scratch,
        }  # fmt: skip

    def start(self) -> None:
        """Return when it answers."""
        identity = {
            "name": "tests", "actions": ["Admin", "Read", "Write", "List"],
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": self.secret_key}],
        }  # fmt: skip
        (self.folder / "keys.json").write_text(json.dumps({"identities": [identity]}))
        (self.folder / "data").mkdir(exist_ok=True)
        names = ("s3", "s3.port.grpc", "filer", "filer.port.grpc", "master", "master.port.grpc", "volume")
        ports = [
            f"-{name if '.' in name else name + '.port'}={port}" for name, port in zip(names, self.ports, strict=False)
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    Path(sys.executable).parent / "weed", "server", f"-dir={self.folder}/data", f"-ip={self.host}",
                    f"-ip.bind={self.host}", "-filer", "-s3", f"-s3.config={self.folder}/keys.json", "-s3.iam=false",
                    "-master.volumePreallocate=false", "-master.volumeSizeLimitMB=64", "-master.telemetry=false",
                    "-volume.max=50", "-s3.port.iceberg=0", "-s3.port.lance=0",
                    f"-s3.localSocket={self.folder}/s3.sock",
                    f"-filer.localSocket={self.folder}/filer.sock", f"-volume.port.grpc={self.ports[-1]}", *ports,
                ],
                stdout=log, stderr=log,
            )  # fmt: skip
        self._wait()

    def _wait(self) -> None:
        from ingest.landing import landing_of
        from schemas.errors import UnavailableError
        from schemas.settings import Settings

        objects = landing_of(Settings(_env_file=None, **self.settings("", self.folder))).objects
        until = time.monotonic() + PATIENCE_S
        while True:
            assert self._process is not None
            assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
            try:
                objects.put("ready", b"")  # it makes the bucket, too
            except UnavailableError:
                assert time.monotonic() < until, (self.folder / "log").read_text()[-2000:]
                time.sleep(0.2)
            else:
                return

    def kill(self) -> None:
        """End it at once; what it answered to is kept."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        for port in self.ports:  # sockets for which no setting names a place
            for left in Path(tempfile.gettempdir()).glob(f"seaweedfs-*-{port}.sock"):
                left.unlink(missing_ok=True)

    @contextmanager
    def hung(self) -> Iterator[None]:
        """It takes connections and does not answer."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
