from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from airflow_mltrain import Experiment, ScriptRunConfig, Workspace
from airflow_mltrain.cli import main
from airflow_mltrain.hooks.compute_target import ComputeTargetHook
from tests.services.docker_engine import DockerEngine
from tests.services.docker_image import python_image
from tests.services.ssh_host import SshHost

_AMPLE_BYTES = 10 * 10**9


def add_connection(monkeypatch: pytest.MonkeyPatch, name: str, **fields: object) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(fields))


def add_target(monkeypatch: pytest.MonkeyPatch, name: str, root: Path | str) -> None:
    extra = {"kind": "local", "root": str(root)}
    add_connection(monkeypatch, name, conn_type="mltrain_compute", extra=extra)


def test_a_target_in_order_is_ready(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    # when
    exit_code = main(["targets", "check", "local"])

    # then
    headings, *lines = capsys.readouterr().out.splitlines()
    assert exit_code == 0
    assert headings.split() == ["LOOKED", "AT", "LEVEL", "FOUND"]
    assert lines[-1].startswith("local: ready")
    assert any(line.startswith("root folder  ") for line in lines)
    assert not workspace.settings.local_root.exists()


def test_a_fault_is_shown_with_its_remedy_below_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    add_target(monkeypatch, "odd", "/sys/kernel/mltrain")

    # when
    exit_code = main(["targets", "check", "odd"])

    # then
    lines = capsys.readouterr().out.splitlines()
    [number] = [number for number, line in enumerate(lines) if line.startswith("root folder")]
    assert exit_code == 1
    assert "FAULT" in lines[number]
    assert lines[number + 1].strip().startswith("-> ")
    assert lines[-1].startswith("odd: not ready (")


def test_a_check_can_be_read_by_a_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    (tmp_path / "file").touch()
    add_target(monkeypatch, "odd", tmp_path / "file")

    # when
    exit_code = main(["targets", "check", "odd", "--json"])

    # then
    told = json.loads(capsys.readouterr().out)
    [fault] = [one for one in told["findings"] if one["level"] == "fault"]
    assert exit_code == 1
    assert (told["target"], told["is_ready"]) == ("odd", False)
    assert fault["subject"] == "root folder"
    assert fault["remedy"]


def test_a_name_that_is_no_target_is_a_message_on_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # when
    exit_code = main(["targets", "check", "mars"])

    # then
    shown = capsys.readouterr()
    assert exit_code == 1
    assert shown.out == ""
    assert shown.err.startswith("mltrain: there is no compute target 'mars'")


def test_a_host_tells_who_logged_in_and_what_its_sshd_allows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    with SshHost(sshd_lines=("MaxStartups 4:50:20", "MaxSessions 3")) as host:
        monkeypatch.setenv("AIRFLOW_CONN_GPU_BOX", host.connection_json())

        # when
        exit_code = main(["targets", "check", "gpu_box", "--json"])

    # then
    findings = json.loads(capsys.readouterr().out)["findings"]
    texts = {one["subject"]: one["text"] for one in findings}
    assert exit_code == 0
    assert texts["login"].startswith(f"{host.user} on {host.name}")
    assert "MaxSessions 3, MaxStartups 4:50:20" in texts["sshd"]
    assert str(host.home) in texts["account"]
    assert texts["clock"].startswith("right within")


def test_a_host_that_does_not_answer_is_a_fault_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    with SshHost() as host:
        monkeypatch.setenv("AIRFLOW_CONN_GPU_BOX", host.connection_json())

    # when
    exit_code = main(["targets", "check", "gpu_box", "--json"])

    # then
    [finding] = json.loads(capsys.readouterr().out)["findings"]
    assert exit_code == 1
    assert (finding["subject"], finding["level"]) == ("connection", "fault")
    assert "gpu_box" in finding["text"]


def test_an_engine_that_does_not_answer_is_a_fault_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    extra = {"mltrain": {"engine": "tcp://127.0.0.1:1"}}
    add_connection(monkeypatch, "docker_engine", conn_type="docker", extra=extra)

    # when
    exit_code = main(["targets", "check", "docker_engine"])

    # then
    _, line, verdict = capsys.readouterr().out.splitlines()
    assert exit_code == 1
    assert line.split()[:2] == ["connection", "FAULT"]
    assert "nothing listens at tcp://127.0.0.1:1: is the Docker engine running" in line
    assert verdict == "docker_engine: not ready (1 fault)"
    assert ComputeTargetHook("docker_engine").test_connection()[0] is False


def test_an_engine_in_order_is_ready(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    with DockerEngine(live_restore=True) as engine, closing(engine.client()) as client:
        python_image(client, "mltrain-test/python:3")
        connection = engine.connection_json(image="mltrain-test/python:3")
        monkeypatch.setenv("AIRFLOW_CONN_DOCKER_ENGINE", connection)

        # when
        has_room = shutil.disk_usage(engine.data_folder).free >= _AMPLE_BYTES  # the machine's own
        exit_code = main(["targets", "check", "docker_engine"])
        is_ready, words = ComputeTargetHook("docker_engine").test_connection()

    # then
    _, *lines, verdict = capsys.readouterr().out.splitlines()
    assert (exit_code, verdict) == (0, f"docker_engine: ready{'' if has_room else ' (1 warning)'}")
    [disk] = [line for line in lines if line.startswith("disk space  ")]
    assert disk.split()[2] == ("ok" if has_room else "warning")
    assert {line.split("  ")[0] for line in lines} >= {"engine", "image", "volume", "clock"}
    assert is_ready
    assert words.startswith("compute target 'docker_engine' is ready: Docker ")


def test_the_test_button_tells_a_target_that_is_ready() -> None:
    # when
    is_ready, words = ComputeTargetHook().test_connection()

    # then
    assert is_ready
    assert words.startswith("compute target 'local' is ready: ")
    assert " free on " in words


def test_the_test_button_tells_what_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    # given
    add_target(monkeypatch, "odd", "/sys/kernel/mltrain")

    # when
    is_ready, words = ComputeTargetHook("odd").test_connection()

    # then
    assert not is_ready
    assert words.startswith("compute target 'odd' is not ready: root folder: /sys/kernel/mltrain")
    assert "to do: " in words


def test_targets_are_listed_with_where_they_come_from(
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # given
    (tmp_path / "train.py").touch()
    add_target(monkeypatch, "former", tmp_path / "root")
    config = ScriptRunConfig(source_directory=tmp_path, script="train.py", compute_target="former")
    Experiment(workspace, "churn").submit(config).wait_for_completion()
    monkeypatch.delenv("AIRFLOW_CONN_FORMER")
    add_connection(monkeypatch, "gpu_box", conn_type="ssh", host="127.0.0.1")
    add_connection(monkeypatch, "engine", conn_type="docker")
    add_connection(monkeypatch, "warehouse", conn_type="postgres")
    monkeypatch.setenv("AIRFLOW_CONN_BIG", "mltrain-compute://")

    # when
    exit_code = main(["targets", "list"])

    # then
    shown = capsys.readouterr()
    assert exit_code == 0
    assert [line.split(maxsplit=2) for line in shown.out.splitlines()] == [
        ["NAME", "TYPE", "FROM"],
        ["local", "local", "this machine"],
        ["big", "mltrain_compute", "environment variable"],
        ["engine", "docker", "environment variable"],
        ["gpu_box", "ssh", "environment variable"],
        ["former", "-", "run history"],
    ]
    assert "Airflow's database" in shown.err


@pytest.mark.airflow
@pytest.mark.slow
def test_targets_in_airflow_s_own_database_are_listed_without_what_they_hold(
    airflow_home: Path,
) -> None:
    # given
    airflow = str(Path(sys.executable).with_name("airflow"))
    adding = [airflow, "connections", "add", "gpu_box", "--conn-type", "ssh"]
    for command in ([airflow, "db", "migrate"], [*adding, "--conn-password", "s3cret"]):
        subprocess.run(command, check=True, capture_output=True)
    assert (airflow_home / "airflow.db").exists()

    # when
    answer = subprocess.run(
        [sys.executable, "-m", "airflow_mltrain.cli", "targets", "list", "--json"],
        check=False,
        capture_output=True,
        text=True,
    )

    # then
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "s3cret" not in answer.stdout
    assert {"name": "gpu_box", "type": "ssh", "from": "Airflow's database"} in json.loads(
        answer.stdout
    )["targets"]
