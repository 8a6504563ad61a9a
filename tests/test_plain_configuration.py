"""The settings, read without Airflow: the same as with it, or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_mltrain.plain_configuration import find_plain_configuration
from airflow_mltrain.settings import read_settings

_FILE = """
[DEFAULT]
store = /srv/store

[core]
executor = LocalExecutor

[mltrain]
# database = sqlite:////srv/not-this.db
Database = sqlite:////srv/nor-this.db
database = postgresql://me:p%%40ss@db.example.org/runs?sslmode=require
artifacts = %(store)s/artifacts
local_root = $ROOTS/local root  ; no comment
local_max_concurrent_runs = 3
snapshot_max_megabytes =
cancel_grace_seconds: 7.5

[workers]
min_heartbeat_interval = 2
"""
_BOTH = """
import json, sys
from airflow_mltrain.plain_configuration import find_plain_configuration
from airflow_mltrain.settings import read_settings
found = find_plain_configuration()
assert found is not None and "airflow" not in sys.modules
quickly = vars(read_settings(found))
assert "airflow" not in sys.modules
both = [quickly, vars(read_settings())]
print(json.dumps([{name: str(value) for name, value in one.items()} for one in both]))
"""


@pytest.mark.parametrize("variable", ["", "AIRFLOW_CONFIG"])
def test_a_file_says_the_same_as_to_airflow(
    airflow_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    # given
    airflow_home.mkdir()
    path = tmp_path / "other.cfg" if variable else airflow_home / "airflow.cfg"
    path.write_text(_FILE)
    monkeypatch.setenv("ROOTS", "~/roots")
    monkeypatch.setenv("AIRFLOW__MLTRAIN__DEFER_AFTER_SECONDS", "1.5")
    monkeypatch.setenv("HERE", str(tmp_path))
    if variable:
        monkeypatch.setenv(variable, "$HERE/other.cfg")

    # when
    printed = subprocess.run(
        [sys.executable, "-c", _BOTH], capture_output=True, text=True, check=True
    ).stdout
    quickly, with_airflow = json.loads(printed.splitlines()[-1])

    # then
    assert quickly == with_airflow
    assert quickly["database_url"] == "postgresql://me:p%40ss@db.example.org/runs?sslmode=require"
    assert quickly["artifacts"] == "/srv/store/artifacts"
    assert quickly["defer_after_seconds"] == "1.5"
    assert quickly["event_delay_seconds"] == "3.0"


def test_with_nothing_configured_the_defaults_are_airflows(airflow_home: Path) -> None:
    # given
    assert not airflow_home.exists()

    # when
    found = find_plain_configuration()

    # then
    assert found is not None
    assert read_settings(found) == read_settings()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AIRFLOW__MLTRAIN__DATABASE", "my_postgres"),
        ("AIRFLOW__MLTRAIN__DATABASE_CMD", "cat /run/secrets/database"),
        ("AIRFLOW__MLTRAIN__DATABASE_SECRET", "mltrain/database"),
    ],
)
def test_what_only_airflow_can_look_up_is_left_to_it(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    # given
    monkeypatch.setenv(variable, value)

    # when
    found = find_plain_configuration()

    # then
    assert found is None


@pytest.mark.parametrize(
    "content",
    [
        "[mltrain]\ndatabase_cmd = cat /run/secrets/database\n",
        "[mltrain]\nartifacts = %(nothing)s\n",
        "no section\n",
    ],
)
def test_a_file_that_only_airflow_can_deal_with_is_left_to_it(
    airflow_home: Path, content: str
) -> None:
    # given
    airflow_home.mkdir()
    (airflow_home / "airflow.cfg").write_text(content)

    # when
    found = find_plain_configuration()

    # then
    assert found is None
