from __future__ import annotations

from pathlib import Path

import pytest
from upath import UPath

from airflow_mltrain.errors import ConfigurationError
from airflow_mltrain.settings import StoreUrl, read_settings


def test_with_nothing_configured_everything_is_below_airflow_home(airflow_home: Path) -> None:
    settings = read_settings()

    assert settings.database_url == f"sqlite:///{airflow_home}/mltrain/history.db"
    assert settings.artifacts == airflow_home / "mltrain" / "artifacts"
    assert settings.local_root == airflow_home / "mltrain" / "local"
    assert settings.local_max_concurrent_runs is None
    assert settings.unreachable_timeout_seconds == 86_400.0


def test_options_come_from_the_environment_as_airflow_spells_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW__MLTRAIN__DATABASE", "postgresql://history.example.org/runs")
    monkeypatch.setenv("AIRFLOW__MLTRAIN__ARTIFACTS", "file:///srv/my%20artifacts")
    monkeypatch.setenv("AIRFLOW__MLTRAIN__LOCAL_MAX_CONCURRENT_RUNS", "3")

    settings = read_settings()

    assert settings.database_url == "postgresql://history.example.org/runs"
    assert settings.artifacts == Path("/srv/my artifacts")
    assert settings.local_max_concurrent_runs == 3


def test_the_database_may_be_an_airflow_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_RUNS", "postgres://me:s%2Fcret@history.example.org/runs?sslmode=require"
    )
    monkeypatch.setenv("AIRFLOW__MLTRAIN__DATABASE", "runs")

    assert read_settings().database_url == (
        "postgresql://me:s%2Fcret@history.example.org/runs?sslmode=require"
    )


def test_no_silence_is_too_long_where_the_limit_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    # given
    monkeypatch.setenv("AIRFLOW__MLTRAIN__UNREACHABLE_TIMEOUT_SECONDS", "0")

    # when
    settings = read_settings()

    # then
    assert settings.unreachable_limit(None) is None


@pytest.mark.parametrize(("given", "limit"), [(None, 86_400.0), (0.0, None), (90.0, 90.0)])
def test_who_waits_may_have_another_limit_than_the_settings(
    given: float | None, limit: float | None
) -> None:
    assert read_settings().unreachable_limit(given) == limit


@pytest.mark.parametrize("given", ["many", "-1", "nan", "inf"])
def test_a_number_that_is_none_is_refused_with_its_option(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("AIRFLOW__MLTRAIN__CANCEL_GRACE_SECONDS", given)

    with pytest.raises(ConfigurationError, match="cancel_grace_seconds"):
        read_settings()


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("s3://bucket/runs/", StoreUrl("s3", "bucket/runs")),
        ("s3://store@bucket", StoreUrl("s3", "bucket", "store")),
        ("memory://here", StoreUrl("memory", "here")),
        ("local:///srv/a b", StoreUrl("local", "/srv/a b")),
        ("abfs://container/runs", StoreUrl("abfs", "container/runs")),
        ("ABFS://store@container/runs", StoreUrl("abfs", "container/runs", "store")),
        *(
            (f"{scheme}://{place}", StoreUrl(scheme, place))
            for scheme in ("abfs", "abfss", "az")
            for place in (
                "my-runs@account.dfs.core.windows.net/a/b",
                "my-runs@account.blob.core.windows.net",
            )
        ),
    ],
)
def test_artifacts_may_lie_at_a_url_with_a_cache_on_this_machine(
    monkeypatch: pytest.MonkeyPatch, airflow_home: Path, given: str, url: StoreUrl
) -> None:
    monkeypatch.setenv("AIRFLOW__MLTRAIN__ARTIFACTS", given)

    settings = read_settings()

    assert settings.artifacts_url == url
    assert settings.artifacts == airflow_home / "mltrain" / "artifacts-cache"


@pytest.mark.parametrize(
    "given",
    [
        "s3://me:hunter2@bucket/runs",
        "s3://bucket/runs?secret=hunter2",
        "s3://",
        "s3:///",
        "simplecache::s3://bucket",
    ],
)
def test_a_url_with_a_secret_or_without_a_place_is_refused(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("AIRFLOW__MLTRAIN__ARTIFACTS", given)

    with pytest.raises(ConfigurationError, match="artifacts") as refusal:
        read_settings()

    assert "hunter2" not in str(refusal.value)


def test_an_account_of_azure_is_no_connection_and_comes_to_adlfs_as_it_was_given() -> None:
    given = "abfss://runs@account.dfs.core.windows.net/a"

    url = StoreUrl.parse("artifacts", f"{given}/")

    assert (url.conn_id, str(url)) == (None, given)
    assert UPath(f"{url.scheme}://{url.path}").path == "runs/a"  # which reads it as adlfs does


@pytest.mark.parametrize(
    "given",
    [
        "abfs://account.dfs.core.windows.net/container/runs",
        "abfs://my_connection@account.dfs.core.windows.net/container/runs",
        "abfss://store@container@account.dfs.core.windows.net/runs",
        "abfss://store@container@account/runs",
        "abfss://runs@onelake.dfs.fabric.microsoft.com/runs",
        "abfss://runs@account.dfs.core.windows.net.example.org/runs",
        "az://runs@.dfs.core.windows.net/runs",
        "az://ab@account.blob.core.windows.net/runs",
    ],
)
def test_a_url_of_azure_that_could_mean_two_things_is_refused(given: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        StoreUrl.parse("artifacts", given)

    scheme = given.partition(":")[0]
    assert f"{scheme}://container@account.dfs.core.windows.net/prefix" in str(refusal.value)
    assert f"{scheme}://connection@container/prefix" in str(refusal.value)


def test_a_connection_of_another_type_is_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_RUNS", "ssh://gpu-box")
    monkeypatch.setenv("AIRFLOW__MLTRAIN__DATABASE", "runs")

    with pytest.raises(ConfigurationError, match="'ssh'"):
        read_settings()
