"""`mltrain run`, `mltrain logs` and `mltrain cancel`, in processes of their own."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from airflow_mltrain import Run, Workspace
from airflow_mltrain.runs.exit_action import is_preempted
from airflow_mltrain.runs.record import RunRecord
from airflow_mltrain.runs.status import RunStatus
from tests.contracts.history_bench import a_run
from tests.services.artifacts import folder_store
from tests.services.jobs import wait_for
from tests.services.terminal import (
    MLTRAIN,
    at_terminal,
    read_rest,
    read_until,
    what_remains,
)

_TELL = """
import json, os, sys
sys.stdout.buffer.write(bytes(range(256)))
with open("outputs/arguments.json", "w") as file:
    json.dump(sys.argv[1:], file)
sys.exit(int(os.environ.get("NO_SUCH_VARIABLE", 3)))
"""
_WAIT = """
import os, sys, time
print("begun", flush=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.05)
print("released", flush=True)
"""
_PREEMPTED_ONCE = """
import sys, mltrain
epoch = int(mltrain.Run.get_context().previous_outputs is not None)
print("epoch", epoch, flush=True)
open("outputs/checkpoint", "w").close()
sys.exit(0 if epoch else 75)
"""
_HOSTILE = ["", "--", "--target", "$HOME", "a b", "*", "'\"\\", "\n", "-x", "ü"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "my project"
    folder.mkdir()
    (folder / "tell.py").write_text(_TELL)
    (folder / "wait.py").write_text(_WAIT)
    monkeypatch.setenv("AIRFLOW__MLTRAIN__CANCEL_GRACE_SECONDS", "1")
    return folder


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """The file for which `wait.py` waits."""
    return tmp_path / "gate"


def answer_of(*words: str, directory: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*MLTRAIN, *words], cwd=directory, capture_output=True, check=False)


def detached(workspace: Workspace, directory: Path, gate: Path) -> RunRecord:
    """A run of `wait.py` that goes on."""
    answer = answer_of("run", "--detach", "wait.py", "--", str(gate), directory=directory)
    assert (answer.returncode, answer.stderr) == (0, b"")
    return workspace.history.get(answer.stdout.decode().strip())


def only_run(workspace: Workspace) -> RunRecord:
    [run] = workspace.history.list_runs()
    return run


def has_ended(workspace: Workspace, run: RunRecord) -> bool:
    """Whether the run is over, as somebody sees who comes later."""
    return Run.get(workspace, run.run_id).get_status().is_terminal


def test_a_run_gets_its_arguments_verbatim_and_gives_its_log_and_exit_code(
    workspace: Workspace, project: Path
) -> None:
    # given
    options = ["--tag", "team=vision", "--max-run-duration", "60"]

    # when
    answer = answer_of("run", *options, "tell.py", "--", *_HOSTILE, directory=project)

    # then
    run = only_run(workspace)
    outputs = folder_store(workspace).run_folder(run.run_id) / "outputs"
    words = answer.stderr.decode()
    assert answer.returncode == 3
    assert answer.stdout == bytes(range(256))
    assert words.startswith(f"mltrain: run {run.run_id} on local\n")
    assert words.endswith(f"mltrain: run {run.run_id} ended as Failed: exit code 3\n")
    assert json.loads((outputs / "arguments.json").read_text()) == _HOSTILE
    assert (run.experiment, run.tags) == ("my-project", {"team": "vision"})
    assert run.config["run_config"]["max_run_duration_seconds"] == 60


def test_a_config_file_is_run_with_what_is_given_beside_it(
    workspace: Workspace, project: Path
) -> None:
    # given
    (project / ".azureml").mkdir()
    (project / ".azureml" / "fast.runconfig").write_text(
        "script: wait.py\narguments: [/]\ntarget: local\nmpi: {processCountPerNode: 1}\n"
        "tags: {team: vision}\nmaxRunDurationSeconds: 50\n"
    )
    options = ["--tag", "rate=fast", "--max-run-duration", "60", "tell.py"]

    # when
    plain = answer_of("run", "--config", ".azureml/fast.runconfig", directory=project)
    changed = answer_of("run", "-c", ".azureml/fast.runconfig", *options, "--", directory=project)

    # then
    second, first = workspace.history.list_runs()
    assert (plain.returncode, plain.stdout) == (0, b"begun\nreleased\n")
    assert changed.returncode == 3
    assert (first.config["script"], second.config["script"]) == ("wait.py", "tell.py")
    assert first.config["run_config"]["max_run_duration_seconds"] == 50
    assert second.config["run_config"]["max_run_duration_seconds"] == 60
    assert second.tags == {"team": "vision", "rate": "fast"}


def test_a_preempted_run_goes_on_and_is_shown_to_its_end(
    workspace: Workspace, project: Path
) -> None:
    # given
    (project / "spot.py").write_text(_PREEMPTED_ONCE)
    (project / "spot.runconfig").write_text('script: spot.py\nexitCodePolicy: {"75": preempted}\n')

    # when
    answer = answer_of("run", "--config", "spot.runconfig", directory=project)

    # then
    second, first = workspace.history.list_runs()
    assert (answer.returncode, answer.stdout) == (0, b"epoch 0\nepoch 1\n"), answer.stderr
    assert f"preempted, and goes on as run {second.run_id}" in answer.stderr.decode()
    assert second.run_id == f"{first.run_id}-p1"
    assert second.status is RunStatus.COMPLETED


def test_what_a_config_file_asks_for_in_vain_is_told(workspace: Workspace, project: Path) -> None:
    # given
    (project / "job.yml").write_text("command: echo done\ncode: .\ndescription: a job\n")

    # when
    answer = answer_of("run", "--config", "job.yml", directory=project)

    # then
    assert only_run(workspace).status is RunStatus.COMPLETED
    assert (answer.returncode, answer.stdout) == (0, b"done\n")
    first, second = answer.stderr.decode().splitlines()[:2]
    assert first.endswith("job.yml asks for what is not here, and is loaded without it:")
    assert "description" in second


def test_what_cannot_run_is_refused_before_there_is_a_run(
    workspace: Workspace, project: Path
) -> None:
    # when
    answer = answer_of("run", "tel.py", directory=project)

    # then
    assert (answer.returncode, answer.stdout) == (1, b"")
    assert b"did you mean tell.py" in answer.stderr
    assert workspace.history.list_runs() == []


def test_at_a_terminal_a_line_below_the_log_tells_how_the_run_stands(
    workspace: Workspace, project: Path, gate: Path
) -> None:
    # given
    with at_terminal("run", "wait.py", "--", str(gate), directory=project) as (program, terminal):
        shown = read_until(terminal, r"Running on local, [1-9]\.0 s")

        # when
        gate.touch()
        shown += read_rest(terminal)

    # then
    run = only_run(workspace)
    lines = what_remains(shown)
    assert program.returncode == 0
    assert lines == [
        f"mltrain: run {run.run_id} on local",
        "begun",
        "released",
        f"mltrain: run {run.run_id} is Completed",
        "",
    ]


def test_an_interrupt_lets_go_of_the_run_which_goes_on(
    workspace: Workspace, project: Path, gate: Path
) -> None:
    # given
    with at_terminal("run", "wait.py", "--", str(gate), directory=project) as (program, terminal):
        read_until(terminal, "begun")

        # when
        program.send_signal(signal.SIGINT)
        shown = what_remains(read_rest(terminal))

    # then
    run = only_run(workspace)
    assert program.returncode == 130
    assert f"mltrain: run {run.run_id} goes on; Ctrl-C again within 3 seconds cancels it" in shown
    assert f"`mltrain logs -f {run.run_id}` shows it again" in shown[-2]
    gate.touch()
    wait_for(lambda: has_ended(workspace, run))
    assert only_run(workspace).status is RunStatus.COMPLETED


def test_a_second_interrupt_cancels_the_run(
    workspace: Workspace, project: Path, gate: Path
) -> None:
    # given
    with at_terminal("run", "wait.py", "--", str(gate), directory=project) as (program, terminal):
        read_until(terminal, "begun")
        program.send_signal(signal.SIGINT)
        read_until(terminal, "Ctrl-C again")

        # when
        program.send_signal(signal.SIGINT)
        shown = read_rest(terminal)

    # then
    run = only_run(workspace)
    assert program.returncode == 130
    assert run.status is RunStatus.CANCELED
    assert what_remains(shown)[-2] == f"mltrain: run {run.run_id} was canceled"


def test_a_run_outlives_the_program_that_was_killed(
    workspace: Workspace, project: Path, gate: Path
) -> None:
    # given
    words = ["run", "wait.py", "--", str(gate)]
    with subprocess.Popen([*MLTRAIN, *words], cwd=project, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"begun\n"

        # when
        program.kill()

    # then
    run = only_run(workspace)
    assert not has_ended(workspace, run)
    gate.touch()
    following = answer_of("logs", "--follow", run.run_id, directory=project)
    assert following.stdout == b"begun\nreleased\n"
    assert only_run(workspace).status is RunStatus.COMPLETED


def test_a_run_goes_on_when_nobody_reads_its_log(
    workspace: Workspace, project: Path, gate: Path
) -> None:
    # given
    words = ["run", "wait.py", "--", str(gate)]
    with subprocess.Popen(
        [*MLTRAIN, *words], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        assert program.stdout.readline() == b"begun\n"
        program.stdout.close()

        # when
        gate.touch()
        words_of_it = program.stderr.read().decode()

    # then
    run = only_run(workspace)
    assert program.returncode == 1
    assert words_of_it.endswith(f"mltrain: nobody reads its log; run {run.run_id} goes on\n")
    wait_for(lambda: has_ended(workspace, run))
    assert only_run(workspace).status is RunStatus.COMPLETED


def test_a_log_is_printed_as_far_as_it_is_and_followed_to_its_end(
    workspace: Workspace, project: Path, gate: Path
) -> None:
    # given
    run = detached(workspace, project, gate)
    wait_for(lambda: answer_of("logs", run.run_id, directory=project).stdout == b"begun\n")

    # when
    with subprocess.Popen(
        [*MLTRAIN, "logs", "-f", run.run_id], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as following:
        assert following.stdout is not None
        assert following.stderr is not None
        first = following.stdout.readline()
        gate.touch()
        rest, words = following.stdout.read(), following.stderr.read()

    # then
    assert (first, rest, words) == (b"begun\n", b"released\n", b"")
    assert following.returncode == 0
    assert answer_of("logs", run.run_id, directory=project).stdout == b"begun\nreleased\n"
    assert answer_of("logs", "--tail", "1", run.run_id, directory=project).stdout == b"released\n"


def test_the_log_of_a_child_is_that_of_the_run_it_is_below(
    workspace: Workspace, project: Path
) -> None:
    # given
    answer_of("run", "tell.py", directory=project)
    parent = only_run(workspace)
    child = a_run("child", parent_run_id=parent.run_id, status=RunStatus.COMPLETED)
    workspace.history.add(child)

    # when
    answer = answer_of("logs", "child", directory=project)

    # then
    assert answer.stdout == bytes(range(256))
    assert f"child is a child, and writes to the log of run {parent.run_id}" in str(answer.stderr)


def test_runs_are_canceled_whatever_is_wrong_with_another_one(
    workspace: Workspace, project: Path, gate: Path
) -> None:
    # given
    run = detached(workspace, project, gate)

    # when
    answer = answer_of("cancel", "nobody", run.run_id, directory=project)

    # then
    assert answer.returncode == 1
    assert answer.stdout.decode() == f"run {run.run_id} was canceled\n"
    assert answer.stderr.startswith(b"mltrain: there is no run 'nobody'")
    assert only_run(workspace).status is RunStatus.CANCELED
    again = answer_of("cancel", run.run_id, directory=project)
    assert again.returncode == 0
    assert again.stdout.decode() == f"run {run.run_id} has ended before: Canceled\n"


def test_a_cancel_reaches_the_run_in_which_a_preempted_one_goes_on(
    workspace: Workspace, project: Path
) -> None:
    # given
    policy = {"run_config": {"exit_code_policy": {"75": "preempted"}, "max_preemptions": 3}}
    ended = {"config": policy, "status": RunStatus.FAILED, "exit_code": 75}
    workspace.history.add(a_run("spot", **ended))
    workspace.history.add(a_run("spot-p1", **ended))

    # when
    answer = answer_of("cancel", "spot", directory=project)

    # then
    assert answer.stdout.decode() == "run spot-p1 goes on no longer\n"
    assert not is_preempted(workspace.history.get("spot-p1"))
    again = answer_of("cancel", "spot", directory=project)
    assert again.stdout.decode() == "run spot-p1 has ended before: Failed\n"
