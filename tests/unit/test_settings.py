"""Settings: documented, checked, and without a default secret."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from schemas.errors import SettingsError
from schemas.settings import BucketPlace, Settings, env_example, landing_place, settings

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


# --- where the landing store is -------------------------------------------------------------------


def given(**values: str) -> Settings:
    return Settings(_env_file=None, home=Path("/home-folder"), **values)


def test_the_landing_store_is_a_folder_unless_it_is_set() -> None:
    assert landing_place(given()) == Path("/home-folder/landing")
    assert landing_place(given(landing_url="file:///var/lib/logs")) == Path("/var/lib/logs")


def test_the_landing_store_may_be_a_bucket() -> None:
    place = landing_place(given(landing_url="s3://fleet/a/b/", landing_access_key="who", landing_secret_key="hunter2"))
    assert isinstance(place, BucketPlace)
    assert (place.bucket, place.prefix, place.scratch) == ("fleet", "a/b", Path("/home-folder/landing"))
    assert place.endpoint is None
    assert "hunter2" not in repr(place)


@pytest.mark.parametrize("url", ["relative/path", "file://relative", "s3://", "s3:///prefix", "gs://fleet", ""])
def test_another_address_of_the_landing_store_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="s3:// and a bucket"):
        landing_place(given(landing_url=url))


def test_half_a_key_of_the_landing_store_is_refused() -> None:
    with pytest.raises(SettingsError, match="set both or neither"):
        landing_place(given(landing_url="s3://fleet", landing_access_key="who"))
