"""Settings: `BEACHHEAD_*` variables or `.env`. Read once, when first asked for; no secret has a default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, DotEnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

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
        None,
        description="Where raw CAN logs are kept and uploads wait, as file:///a/folder or s3://bucket/prefix;"
        " default: a folder beside the local server.",
    )
    landing_scratch: Path | None = Field(
        None,
        description="With s3://, a local folder for logs on their way and for parts of unfinished ones;"
        " default: a folder under home.",
    )
    landing_endpoint: str | None = Field(
        None, description="With s3://, address of the store; default: AWS_ENDPOINT_URL, or Amazon's in the region."
    )
    landing_region: str | None = Field(None, description="With s3://, default: AWS_REGION.")
    landing_access_key: SecretStr | None = Field(
        None, description="With s3://, default: AWS_ACCESS_KEY_ID, or the machine's role."
    )
    landing_secret_key: SecretStr | None = Field(None, description="With s3://, default: AWS_SECRET_ACCESS_KEY.")
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
    keep_uploads_days: int | None = Field(
        None,
        gt=0,
        description="Days for which the bytes of uploads and their decoded signals are kept; default: for ever."
        " `beachhead upload expire` takes away what is older.",
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
    metrics_address: str = Field(
        "127.0.0.1:9110",
        pattern=r"^(.+:[0-9]{1,5})?$",
        description="Where the receiver serves /metrics; further workers take the next free ports; empty: nowhere.",
    )
    database_pool: int = Field(8, gt=0, description="Database connections of one receiver or read side.")
    group_wait_ms: float = Field(
        20, ge=0, description="Small uploads wait at most this long for others to share a transaction with."
    )
    max_future_s: int = Field(600, ge=0, description="Rows further in the future than this are rejected.")
    late_after_s: int = Field(3600, ge=0, description="Rows older than this when they arrive are counted as late.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then variables, then `.env`."""
        return init_settings, env_settings, _OwnLines(settings_cls)


class _OwnLines(DotEnvSettingsSource):
    """The lines of `.env` that are ours: docker-compose.yml keeps its own (`STACK_*`) in the same file."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        prefix = self.env_prefix.lower()
        return {name: value for name, value in super()._load_env_vars().items() if name.lower().startswith(prefix)}


@dataclass(frozen=True, slots=True)
class BucketPlace:
    """A landing store in an S3-compatible bucket. What is null comes from the usual AWS_* variables."""

    bucket: str
    prefix: str
    scratch: Path
    endpoint: str | None
    region: str | None
    access_key: SecretStr | None
    secret_key: SecretStr | None


def landing_place(given: Settings) -> Path | BucketPlace:
    """Where the landing store is: a folder, or a bucket.

    Raises:
        SettingsError: the URL names neither, or half a key is set.
    """
    default = given.home / "landing"
    if given.landing_url is None:
        return default
    scheme, _, path = given.landing_url.partition("://")
    bucket, _, prefix = path.partition("/")
    if scheme == "file" and path.startswith("/"):
        return Path(path)
    if scheme != "s3" or not bucket:
        raise SettingsError(
            "BEACHHEAD_LANDING_URL: must be file:// and an absolute path, as file:///var/lib/beachhead,"
            " or s3:// and a bucket, as s3://fleet/beachhead"
        )
    if (given.landing_access_key is None) != (given.landing_secret_key is None):
        raise SettingsError("BEACHHEAD_LANDING_ACCESS_KEY and BEACHHEAD_LANDING_SECRET_KEY: set both or neither")
    return BucketPlace(
        bucket, prefix.strip("/"), given.landing_scratch or default, given.landing_endpoint, given.landing_region,
        given.landing_access_key, given.landing_secret_key,
    )  # fmt: skip


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
