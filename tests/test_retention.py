from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from threading import Thread

import pytest

from airflow_mltrain import Experiment, Run, ScriptRunConfig, Workspace
from airflow_mltrain.errors import ArtifactError, RunFailedError
from airflow_mltrain.preemption import record_successor
from airflow_mltrain.progress import await_end
from airflow_mltrain.retention import REMOVED_PROPERTY, collect_artifacts, collect_jobs
from airflow_mltrain.runs.exit_action import is_preempted
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.settings import Settings
from tests.services.artifacts import folder_store

_DAY = 24 * 3600.0


def submit(workspace: Workspace, project: Path, script: str) -> Run:
    (project / "train.py").write_text(script)
    return Experiment(workspace, "churn").submit(ScriptRunConfig(project, "train.py"))


def train(workspace: Workspace, project: Path, script: str) -> Run:
    run = submit(workspace, project, script)
    run.wait_for_completion()
    return run


def age(workspace: Workspace) -> None:
    """Let a store's blobs and folders be of the day before yesterday."""
    age_blobs(workspace)
    then = time.time() - 2 * _DAY
    for folder in folder_store(workspace).run_folders():
        os.utime(folder, (then, then))


def age_blobs(workspace: Workspace) -> None:
    then = time.time() - 2 * _DAY
    for entry in folder_store(workspace).blobs.entries():
        with suppress(FileNotFoundError):  # a draft, which has its name by now
            os.utime(entry.path, (then, then))


def blobs_in(workspace: Workspace) -> set[str]:
    return {entry.name for entry in folder_store(workspace).blobs.entries()}


def tomorrow() -> datetime:
    return datetime.now(timezone.utc) + timedelta(days=1)


def yesterday() -> datetime:
    return datetime.now(timezone.utc) - timedelta(days=1)


def test_what_runs_and_environments_refer_to_stays(workspace: Workspace, project: Path) -> None:
    # given
    run = train(workspace, project, "print('kept')")
    wheel = project / "own.whl"
    wheel.write_bytes(b"a wheel")
    digest = workspace.add_wheel(wheel)
    content = {"name": "own", "python": {"packages": [f"own.whl --hash=sha256:{digest}"]}}
    workspace.history.environments.register("own", content)
    before = blobs_in(workspace)
    orphan = workspace.artifacts.blobs.put_bytes(b"nobody's")
    age(workspace)

    # when
    would_go = collect_artifacts(workspace, is_dry_run=True)
    still_there = orphan in blobs_in(workspace)
    gone = collect_artifacts(workspace)

    # then
    assert still_there
    assert would_go == gone
    assert (gone.run_ids, gone.blobs.number, gone.blobs.size_bytes) == ((), 1, len(b"nobody's"))
    assert blobs_in(workspace) == before
    assert (folder_store(workspace).run_folder(run.id) / "log").read_text() == "kept\n"
    run.restore_snapshot(path=project / "restored")


def test_what_is_young_stays_and_so_does_what_a_young_snapshot_lists(
    workspace: Workspace, project: Path
) -> None:
    # given: a build context that no environment names yet, made of files that were there before
    (project / "Dockerfile").write_text("FROM scratch")
    workspace.add_build_context(project, "Dockerfile")
    age(workspace)
    context = workspace.add_build_context(project, "Dockerfile")
    before = blobs_in(workspace)

    # when
    gone = collect_artifacts(workspace)

    # then
    assert gone.blobs.number == 0
    assert context in before == blobs_in(workspace)


def test_log_and_outputs_of_old_runs_go_and_what_is_known_of_them_stays(
    workspace: Workspace, project: Path
) -> None:
    # given
    old = train(workspace, project, "import mltrain; mltrain.Run.get_context().log('loss', 1)")
    unfinished = submit(workspace, project, "import time; time.sleep(60)")
    age(workspace)

    # when
    too_early = collect_artifacts(workspace, yesterday())
    gone = collect_artifacts(workspace, tomorrow())

    # then
    assert too_early.run_ids == ()
    assert gone.run_ids == (old.id,)
    assert gone.blobs.number == 2  # the manifest and the script
    assert not folder_store(workspace).run_folder(old.id).exists()
    assert old.get_metrics() == {"loss": 1}
    assert REMOVED_PROPERTY in old.get_details()["properties"]
    unfinished.cancel()
    unfinished.wait_for_completion()


def test_a_preempted_run_stays_until_it_has_gone_on_in_another(
    workspace: Workspace, project: Path
) -> None:
    # given
    half_way = "open('outputs/state', 'w').write('half'); raise SystemExit(75)"
    (project / "train.py").write_text(half_way)
    config = ScriptRunConfig(project, "train.py")
    config.run_config.exit_code_policy = {75: "preempted"}
    config.run_config.max_preemptions = 1
    run = Experiment(workspace, "churn").submit(config)
    first = await_end(workspace, run.id)

    def collect() -> tuple[str, ...]:
        age(workspace)
        return collect_artifacts(workspace, tomorrow()).run_ids

    # when
    before = collect()
    second = record_successor(workspace, first)
    meanwhile = collect()
    with pytest.raises(RunFailedError):
        Run.get(workspace, run.id).wait_for_completion()
    afterwards = collect()

    # then
    assert is_preempted(first)
    assert (before, meanwhile) == ((), ())
    assert set(afterwards) == {run.id, second.run_id}


def test_a_collector_that_is_killed_anywhere_leaves_runs_whole_or_gone(
    workspace: Workspace, project: Path, settings: Settings, tmp_path: Path
) -> None:
    # given
    script = "import os\nfor n in range(200): open(f'outputs/{n}', 'w').write('x')"
    runs = [train(workspace, project, f"{script}\n# {number}") for number in range(3)]
    age(workspace)
    collect = (
        "import sys, datetime, pickle\n"
        "from airflow_mltrain import Workspace\n"
        "from airflow_mltrain.retention import collect_artifacts\n"
        "settings = pickle.load(open(sys.argv[1], 'rb'))\n"
        "print('ready', flush=True)\n"
        "future = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)\n"
        "collect_artifacts(Workspace(settings), future)\n"
    )

    pickled = tmp_path / "settings"
    pickled.write_bytes(pickle.dumps(settings))

    # when
    whole = []
    for pause in (0.0, 0.004, 0.008, 0.012, 0.02, 0.03, 0.05):
        collector = subprocess.Popen(
            [sys.executable, "-c", collect, str(pickled)], stdout=subprocess.PIPE
        )
        assert collector.stdout is not None
        collector.stdout.readline()
        time.sleep(pause)
        collector.send_signal(signal.SIGKILL)
        collector.wait()
        collector.stdout.close()
        for run in runs:
            folder = folder_store(workspace).run_folder(run.id)
            if folder.exists():
                whole.append(len(list((folder / "outputs").iterdir())))
    age(workspace)
    collect_artifacts(workspace, tomorrow())

    # then
    assert set(whole) <= {200}
    assert folder_store(workspace).run_folders() == []
    assert blobs_in(workspace) == set()


def test_a_source_directory_can_be_submitted_again_whenever_a_collector_was_killed(
    workspace: Workspace, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: the collector dies after each file that it removes
    class KilledError(BaseException):
        pass

    unlink = Path.unlink

    def unlink_and_die(path: Path) -> None:
        unlink(path)
        raise KilledError

    for number in range(8):
        (project / f"module_{number}.py").write_text(f"VALUE = {number}")
    train(workspace, project, "import module_0; print(module_0.VALUE)")
    age(workspace)
    while blobs_in(workspace):
        monkeypatch.setattr(Path, "unlink", unlink_and_die)
        with pytest.raises(KilledError):
            collect_artifacts(workspace, tomorrow())
        monkeypatch.setattr(Path, "unlink", unlink)
        left = len(blobs_in(workspace))
        workspace.get_target("local").collect_blobs(0)  # so that it has to be sent them

        # when
        run = train(workspace, project, "import module_0; print(module_0.VALUE)")

        # then
        assert (folder_store(workspace).run_folder(run.id) / "log").read_text() == "0\n"
        age(workspace)
        for _ in range(10 - left):  # as far as it had come, and one further
            monkeypatch.setattr(Path, "unlink", unlink_and_die)
            with pytest.raises(KilledError):
                collect_artifacts(workspace, tomorrow())
            monkeypatch.setattr(Path, "unlink", unlink)


def test_runs_that_are_submitted_while_it_collects_all_succeed(
    workspace: Workspace, project: Path
) -> None:
    # given: every blob is old at any moment, and every ended run may go
    ended: list[RunStatus] = []

    def submit_many() -> None:
        ended.extend(
            train(workspace, project, f"print({number % 2})").get_status() for number in range(6)
        )

    submitter = Thread(target=submit_many)

    # when
    submitter.start()
    while submitter.is_alive():
        age_blobs(workspace)
        collect_artifacts(workspace, tomorrow())

    # then
    assert [str(status) for status in ended] == ["Completed"] * 6


def test_it_gives_up_where_somebody_is_always_submitting(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    monkeypatch.setattr("airflow_mltrain.retention._PATIENCE_SECONDS", 0.1)

    # when
    with workspace.artifacts.used(), pytest.raises(ArtifactError) as caught:
        collect_artifacts(workspace)

    # then
    assert "repeat this when it is quieter" in str(caught.value)


def test_a_wheel_that_is_added_again_while_a_store_is_cleared_is_there_afterwards(
    workspace: Workspace, project: Path
) -> None:
    # given: an old wheel that nothing refers to, and a collector that has seen so
    wheel = project / "own.whl"
    wheel.write_bytes(b"a wheel")
    digest = workspace.add_wheel(wheel)
    adding = Thread(target=workspace.add_wheel, args=[wheel])

    # when
    with workspace.artifacts.alone(0.0) as is_alone:
        assert is_alone
        adding.start()
        adding.join(1.0)  # who is not kept waiting is done by then
        workspace.artifacts.blobs.remove([digest])
    adding.join()

    # then
    assert digest in blobs_in(workspace)


def test_a_store_with_runs_of_another_workspace_is_not_cleared(
    workspace: Workspace, project: Path
) -> None:
    # given: a machine whose airflow.cfg names the store, and not the database
    run = train(workspace, project, "print('kept')")
    age(workspace)
    before = blobs_in(workspace)
    stranger = Workspace(
        replace(workspace.settings, database_url=f"sqlite:///{project.parent}/other.db")
    )

    # when
    with pytest.raises(ArtifactError, match=f"1 of 1 runs.* such as {run.id}.*one workspace"):
        collect_artifacts(stranger)

    # then
    assert blobs_in(workspace) == before


def test_jobs_of_old_runs_leave_their_target_and_others_stay(
    workspace: Workspace, project: Path
) -> None:
    # given
    old = train(workspace, project, "print('old')")
    running = submit(workspace, project, "import time; time.sleep(60)")
    stranger = Workspace(
        replace(workspace.settings, database_url=f"sqlite:///{project.parent}/other.db")
    )
    strange = train(stranger, project, "print('of another workspace')")
    target = workspace.get_target("local")

    # when
    early = collect_jobs(workspace, target, yesterday())
    would_go = collect_jobs(workspace, target, tomorrow(), is_dry_run=True)
    gone = collect_jobs(workspace, target, tomorrow())

    # then
    assert early == []
    assert [job.run_id for job in would_go] == [job.run_id for job in gone] == [old.id]
    assert {job.run_id for job in target.list_jobs()} == {running.id, strange.id}
    assert (folder_store(workspace).run_folder(old.id) / "log").read_text() == "old\n"
    running.cancel()
    running.wait_for_completion()
