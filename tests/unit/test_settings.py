"""Settings: documented, checked, and without a default secret."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from schemas.errors import SettingsError
from schemas.settings import Settings, env_example, settings

CHECKOUT = Path(__file__).resolve().parents[2]


def test_env_example_lists_every_setting_as_the_code_has_it() -> None:
    assert (CHECKOUT / ".env.example").read_text() == env_example(), (
        "write it anew: .venv/bin/python -m schemas.settings"
    )


def test_no_secret_has_a_default() -> None:
    secrets = [field for field in Settings.model_fields.values() if "SecretStr" in str(field.annotation)]
    assert secrets
    assert all(field.default is None for field in secrets)


def test_a_wrong_value_is_named_without_showing_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BEACHHEAD_MAX_ROWS", "many-rows")
    settings.cache_clear()
    with pytest.raises(SettingsError, match="BEACHHEAD_MAX_ROWS") as caught:
        settings()
    assert "many-rows" not in str(caught.value)


def test_secrets_do_not_show_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BEACHHEAD_JOBS_URL", "postgresql://jobs:hunter2@localhost/x")
    given = Settings()
    assert isinstance(given.jobs_url, SecretStr)
    assert "hunter2" not in repr(given)
