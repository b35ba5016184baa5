"""Settings: `BEACHHEAD_*` variables or `.env`. Read once, when first asked for; no secret has a default."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.errors import SettingsError


class Settings(BaseSettings):
    """Everything that can be set. `.env.example` lists all of it."""

    model_config = SettingsConfigDict(
        env_prefix="BEACHHEAD_", env_file=".env", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    home: Path = Field(Path(".beachhead"), description="Folder of the local server, its passwords and its logs.")
    database_url: SecretStr | None = Field(None, description="The owner's database; default: the local server's.")
    ingest_url: SecretStr | None = Field(None, description="The receiver's role; default: the local server's.")
    jobs_url: SecretStr | None = Field(None, description="The jobs' role; default: the local server's.")
    reader_url: SecretStr | None = Field(None, description="The read side's role; default: the local server's.")
    web_url: SecretStr | None = Field(
        None, description="The role for accounts and records; default: the local server's."
    )
    landing_url: str | None = Field(
        None, description="Where raw CAN logs are kept, as file:///a/folder; default: a folder beside the local server."
    )
    max_log_bytes: int = Field(4 * 2**30, gt=0, description="Largest raw CAN log, also when unpacked.")
    max_unfinished_logs: int = Field(16, gt=0, description="Raw CAN logs that a gateway may send in parts at a time.")
    max_unfinished_bytes: int = Field(16 * 2**30, gt=0, description="Bytes of a gateway's unfinished raw CAN logs.")
    unfinished_expire_s: int = Field(
        7 * 86_400, gt=0, description="A raw CAN log in parts is given up when no part has come for this long."
    )
    max_body_bytes: int = Field(
        64 * 2**20, gt=0, description="Largest upload, also after decompression, and largest part of a raw CAN log."
    )
    max_rows: int = Field(500_000, gt=0, description="Most rows in one upload.")
    max_fields: int = Field(1000, gt=0, description="Most different fields in one upload.")
    max_waiting_bytes: int = Field(
        16 * 2**30, gt=0, description="Most that may wait in the landing store while the database is away."
    )
    body_timeout_s: float = Field(30, gt=0, description="An upload whose body stops coming for this long is ended.")
    min_body_bytes_per_s: float = Field(
        256, ge=0, description="An upload whose body comes more slowly than this, beyond the time above, is ended."
    )
    max_header_bytes: int = Field(16 * 2**10, gt=0, description="Largest headers of a request, all together.")
    max_uploads_at_once: int = Field(
        256, gt=0, description="Uploads under way at once in one process, those included that wait their turn."
    )
    max_held_bytes: int = Field(
        2**30, gt=0, description="Bytes of rows that the uploads under way in one process hold in memory as they came."
    )
    gateway_requests_per_s: float = Field(
        50, ge=0, description="Requests a second of one gateway in the long run, in each process; 0: no limit."
    )
    gateway_burst_requests: float = Field(
        1000, ge=1, description="Requests that a gateway may make at once after a quiet time."
    )
    gateway_bytes_per_s: float = Field(
        16 * 2**20, ge=0, description="Bytes a second of one gateway in the long run, in each process; 0: no limit."
    )
    gateway_burst_bytes: float = Field(
        4 * 2**30, ge=1, description="Bytes that a gateway may send at once after a quiet time."
    )
    key_cache_s: float = Field(
        30, ge=0, description="A verified gateway key is trusted this long without asking again."
    )
    trusted_proxies: str = Field(
        "", description="Addresses of proxies that tell clients' addresses in X-Forwarded-For, as 127.0.0.1,10.0.0.0/8."
    )
    failed_keys_per_minute: int = Field(
        30, ge=0, description="Unknown gateway keys from one address before it has to wait; 0: no limit."
    )
    database_pool: int = Field(8, gt=0, description="Database connections of one receiver or read side.")
    max_future_s: int = Field(600, ge=0, description="Rows further in the future than this are rejected.")
    late_after_s: int = Field(3600, ge=0, description="Rows older than this when they arrive are counted as late.")


def landing_folder(given: Settings) -> Path:
    """The folder of the landing store.

    Raises:
        SettingsError: the URL names no folder.
    """
    if given.landing_url is None:
        return given.home / "landing"
    scheme, _, path = given.landing_url.partition("://")
    if scheme != "file" or not path.startswith("/"):
        raise SettingsError("BEACHHEAD_LANDING_URL: must be file:// and an absolute path, as file:///var/lib/beachhead")
    return Path(path)


@cache
def settings() -> Settings:
    """The settings of this process.

    Raises:
        SettingsError: a variable is unknown or its value cannot be used.
    """
    try:
        return Settings()
    except ValidationError as error:
        faults = "; ".join(f"BEACHHEAD_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
        raise SettingsError(f"settings cannot be used: {faults}") from None


def env_example() -> str:
    """The content of `.env.example`: every setting with its meaning and default."""
    lines = ["# Copy to .env and uncomment what you change. Variables of the environment come first."]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else str(field.default)
        lines += ["", f"# {field.description}", f"# BEACHHEAD_{name.upper()}={default}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(".env.example").write_text(env_example(), encoding="utf-8")
