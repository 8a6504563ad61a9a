"""What Airflow says, and what it knows, when it is used from a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_CLI = [sys.executable, "-m", "airflow_mltrain.cli"]
_TALKATIVE = {
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
    "AIRFLOW__CORE__SQL_ALCHEMY_CONN": "sqlite:////nonexistent/airflow.db",  # its former section
    "AIRFLOW__CORE__FERNET_KEY": "",
}


def test_airflow_writes_nothing_into_the_answer(airflow_home: Path, tmp_path: Path) -> None:
    # given
    connection = f'{{"conn_type": "mltrain_compute", "extra": {{"root": "{tmp_path}/gpu"}}}}'
    environment = {**os.environ, **_TALKATIVE, "AIRFLOW_CONN_GPU": connection}

    # when
    answer = subprocess.run(
        [*_CLI, "env", "list", "--target", "gpu"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    # then
    assert airflow_home.exists()
    assert (answer.stdout, answer.stderr) == ("no environment is built on gpu\n", "")
    assert answer.returncode == 0


@pytest.mark.airflow
@pytest.mark.slow
def test_a_target_may_be_a_connection_in_airflow_s_own_database(
    airflow_home: Path, tmp_path: Path
) -> None:
    # given
    airflow = Path(sys.executable).with_name("airflow")
    extra = ["--conn-extra", f'{{"root": "{tmp_path}/gpu"}}']
    subprocess.run([airflow, "db", "migrate"], check=True, capture_output=True)
    subprocess.run(
        [airflow, "connections", "add", "gpu", "--conn-type", "mltrain_compute", *extra],
        check=True,
        capture_output=True,
    )
    assert (airflow_home / "airflow.db").exists()

    # when
    answer = subprocess.run(
        [*_CLI, "env", "list", "--target", "gpu"], capture_output=True, text=True, check=False
    )

    # then
    assert (answer.stdout, answer.stderr) == ("no environment is built on gpu\n", "")
