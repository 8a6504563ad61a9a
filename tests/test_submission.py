from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest

from airflow_mltrain import progress, submission
from airflow_mltrain.config.script_run import ScriptRunConfig
from airflow_mltrain.errors import (
    ConfigurationError,
    JobStartError,
    SnapshotError,
    TargetNotFoundError,
    TargetUnreachableError,
)
from airflow_mltrain.recording import Occasion
from airflow_mltrain.runs.record import RunRecord, SubmissionKey
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.settings import Settings
from airflow_mltrain.targets.base import Job, Seen
from airflow_mltrain.targets.local import LocalTarget
from airflow_mltrain.workspace import Workspace
from tests.services.artifacts import folder_store
from tests.services.patience import PATIENCE_SECONDS

KEY = SubmissionKey("retrain", "scheduled__2026-01-01", "train")
FIRST = Occasion(KEY, "first/0")


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    return tmp_path / "diary"


def make_config(tmp_path: Path, script: str) -> ScriptRunConfig:
    project = tmp_path / "project"
    project.mkdir(exist_ok=True)
    (project / "train.py").write_text(script)
    return ScriptRunConfig(project, "train.py")


def noting(diary: Path, seconds: float = 0.0) -> str:
    return f"import time\nopen({str(diary)!r}, 'a').write('ran\\n')\ntime.sleep({seconds})\n"


def ended(workspace: Workspace, record: RunRecord) -> RunRecord:
    return progress.await_end(workspace, record.run_id, timeout_seconds=PATIENCE_SECONDS)


def test_a_run_is_recorded_with_its_end(workspace: Workspace, tmp_path: Path) -> None:
    config = make_config(tmp_path, "print('done')")

    record = ended(workspace, submission.submit(workspace, "churn", config))

    assert record.status is RunStatus.COMPLETED
    assert record.exit_code == 0
    assert record.started_at is not None
    assert record.ended_at is not None
    assert record.started_at < record.ended_at
    assert workspace.history.get(record.run_id) == record


def test_a_lease_reaches_the_job(workspace: Workspace, tmp_path: Path) -> None:
    config = make_config(tmp_path, "print('done')")
    config.run_config.lease_seconds = 1800

    record = ended(workspace, submission.submit(workspace, "churn", config))

    folder = workspace.settings.local_root / "runs" / record.run_id
    assert json.loads((folder / "state.json").read_text())["lease_seconds"] == 1800


def test_a_retry_adopts_the_run(workspace: Workspace, tmp_path: Path, diary: Path) -> None:
    config = make_config(tmp_path, noting(diary, seconds=0.5))
    first = submission.submit(workspace, "churn", config, FIRST)

    again = submission.submit(workspace, "churn", config, FIRST)

    assert again.run_id == first.run_id
    assert ended(workspace, again).status is RunStatus.COMPLETED
    assert diary.read_text() == "ran\n"


def test_a_retry_adopts_a_run_that_completed_meanwhile(
    workspace: Workspace, tmp_path: Path, diary: Path
) -> None:
    config = make_config(tmp_path, noting(diary))
    first = ended(workspace, submission.submit(workspace, "churn", config, FIRST))

    again = submission.submit(workspace, "churn", config, FIRST)

    assert again == first


def test_asking_again_after_a_failure_is_a_new_generation(
    workspace: Workspace, tmp_path: Path
) -> None:
    config = make_config(tmp_path, "raise SystemExit(4)")
    first = ended(workspace, submission.submit(workspace, "churn", config, FIRST))

    again = submission.submit(workspace, "churn", config, FIRST)

    assert first.status is RunStatus.FAILED
    assert (again.generation, again.run_id != first.run_id) == (2, True)
    ended(workspace, again)


def test_another_occasion_ends_the_run_that_goes_on_and_starts_a_new_one(
    workspace: Workspace, tmp_path: Path, diary: Path
) -> None:
    slow = make_config(tmp_path, noting(diary, seconds=60))
    first = submission.submit(workspace, "churn", slow, FIRST)
    quick = make_config(tmp_path, noting(diary))

    again = submission.submit(workspace, "churn", quick, FIRST._replace(token="first/1"))

    assert workspace.history.get(first.run_id).status is RunStatus.CANCELED
    assert again.generation == 2
    assert ended(workspace, again).status is RunStatus.COMPLETED


def test_a_mapped_task_has_runs_of_its_own(workspace: Workspace, tmp_path: Path) -> None:
    config = make_config(tmp_path, "")

    runs = [
        submission.submit(
            workspace, "churn", config, FIRST._replace(key=KEY._replace(map_index=index))
        )
        for index in (0, 1)
    ]

    assert runs[0].run_id != runs[1].run_id
    assert {ended(workspace, run).status for run in runs} == {RunStatus.COMPLETED}


def test_a_recorded_run_that_was_never_started_is_started_by_the_retry(
    workspace: Workspace, tmp_path: Path, diary: Path
) -> None:
    config = make_config(tmp_path, noting(diary))
    record = submission.submit(workspace, "churn", config, FIRST)
    ended(workspace, record)
    fresh = replace(
        record,
        run_id="recorded_only",
        generation=2,
        status=RunStatus.NOT_STARTED,
        is_started=False,
    )
    workspace.history.add(fresh)

    adopted = submission.submit(workspace, "churn", config, FIRST)

    assert adopted.run_id == "recorded_only"
    assert ended(workspace, adopted).status is RunStatus.COMPLETED
    assert diary.read_text() == "ran\nran\n"


@pytest.mark.slow
def test_a_submitter_killed_at_any_moment_leaves_one_run_to_adopt(
    settings: Settings, tmp_path: Path
) -> None:
    Workspace(settings).history.list_runs()  # the schema is made
    processes = get_context("fork")
    for number in range(40):
        diary = tmp_path / f"diary-{number}"
        config = make_config(tmp_path, noting(diary))
        occasion = FIRST._replace(key=KEY._replace(map_index=number))
        victim = processes.Process(
            target=submission.submit, args=(Workspace(settings), "churn", config, occasion)
        )
        victim.start()
        time.sleep(number * 0.004)
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()

        record = submission.submit(Workspace(settings), "churn", config, occasion)

        assert ended(Workspace(settings), record).status is RunStatus.COMPLETED
        assert diary.read_text() == "ran\n"
        assert record.generation == 1


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"compute_target": "gpu_box"}, TargetNotFoundError, "no compute target 'gpu_box'"),
        ({"script": "absent.py"}, ConfigurationError, "absent.py"),
        ({"environment": "unheard-of"}, ConfigurationError, "no environment 'unheard-of'"),
        ({"source_directory": "/no/such/folder"}, ConfigurationError, "/no/such/folder"),
        ({"run_config": {"framework": "PySpark"}}, ConfigurationError, "framework"),
        ({"run_config": {"spark": {"executor_cores": 2}}}, ConfigurationError, "runs no Spark"),
    ],
)
def test_bad_input_is_refused_before_anything_is_recorded(
    workspace: Workspace,
    tmp_path: Path,
    change: dict[str, object],
    error: type[Exception],
    words: str,
) -> None:
    plain = make_config(tmp_path, "").model_dump(mode="json")
    given = {"source_directory": plain["source_directory"], "script": "train.py", **change}
    config = ScriptRunConfig.model_validate(given)

    with pytest.raises(error, match=words):
        submission.submit(workspace, "churn", config)

    assert workspace.history.list_runs() == []


@pytest.mark.parametrize("name", ["", "a/b", "..", "x" * 129, "with space"])
def test_an_experiment_needs_a_plain_name(workspace: Workspace, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="experiment"):
        submission.submit(workspace, name, make_config(tmp_path, ""))


def test_a_source_directory_over_the_limit_is_refused(settings: Settings, tmp_path: Path) -> None:
    config = make_config(tmp_path, "")
    with (tmp_path / "project" / "weights.bin").open("wb") as file:
        file.truncate(2_000_000_000)

    with pytest.raises(SnapshotError, match=r"weights\.bin"):
        submission.submit(Workspace(settings), "churn", config)


def test_the_log_comes_whole_and_in_order(workspace: Workspace, tmp_path: Path) -> None:
    script = (
        "import sys\nfor n in range(200000): print(n)\nsys.stdout.buffer.write(bytes(range(256)))"
    )
    record = submission.submit(workspace, "churn", make_config(tmp_path, script))

    log = b"".join(step.log for step in progress.follow(workspace, record.run_id))

    expected = b"".join(b"%d\n" % number for number in range(200_000))
    assert log in (expected + bytes(range(256)), bytes(range(256)) + expected)
    kept = folder_store(workspace).run_folder(record.run_id) / "log"
    assert kept.read_bytes() == log


def test_following_again_goes_on_where_the_last_one_stopped(
    workspace: Workspace, tmp_path: Path
) -> None:
    script = "import time\nfor n in range(30): print(n, flush=True); time.sleep(0.05)"
    record = submission.submit(workspace, "churn", make_config(tmp_path, script))
    following = progress.follow(workspace, record.run_id)
    step = next(following)
    read = step.log
    while b"5\n" not in read:
        step = next(following)
        read += step.log
    following.close()

    rest = b"".join(
        later.log
        for later in progress.follow(workspace, record.run_id, log_position=step.log_position)
    )

    assert read + rest == b"".join(b"%d\n" % number for number in range(30))


def test_metrics_are_kept_once_though_two_follow(workspace: Workspace, tmp_path: Path) -> None:
    script = (
        "import mltrain\nrun = mltrain.Run.get_context()\nfor n in range(5000): run.log('n', n)"
    )
    record = submission.submit(workspace, "churn", make_config(tmp_path, script))
    one, other = (progress.follow(workspace, record.run_id) for _ in range(2))

    for _ in range(3):
        next(one, None)
        next(other, None)
    ended(workspace, record)

    values = [point.value for point in workspace.history.get_metrics(record.run_id)]
    assert values == list(range(5000))


def test_tags_of_a_script_join_those_of_its_config(workspace: Workspace, tmp_path: Path) -> None:
    config = make_config(
        tmp_path, "import mltrain; mltrain.Run.get_context().tag('stage', 'late')"
    )
    config.tags["team"] = "growth"

    record = ended(workspace, submission.submit(workspace, "churn", config))

    assert workspace.history.get(record.run_id).tags == {"team": "growth", "stage": "late"}


def test_a_run_that_was_canceled_as_it_failed_to_start_is_canceled(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancel_and_fail(_: LocalTarget, job: Job) -> bool:
        submission.cancel(workspace, job.run_id)
        raise JobStartError("its container was removed")

    monkeypatch.setattr(LocalTarget, "start", cancel_and_fail)

    record = submission.submit(workspace, "churn", make_config(tmp_path, "print()"), FIRST)

    assert record.status is RunStatus.CANCELED
    assert workspace.history.get(record.run_id).status is RunStatus.CANCELED


def test_blobs_that_vanish_as_soon_as_they_are_sent_are_said(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalTarget, "start", lambda *_: False)

    with pytest.raises(JobStartError, match="removed there as soon as they were sent"):
        submission.submit(workspace, "churn", make_config(tmp_path, "print()"), FIRST)

    record = workspace.history.find_latest(KEY)
    assert record is not None
    assert record.status is RunStatus.FAILED


def test_outputs_of_a_canceled_run_are_kept(workspace: Workspace, tmp_path: Path) -> None:
    half = "open('outputs/half', 'w').write('half')"
    script = f"import time\n{half}\nprint('go', flush=True)\ntime.sleep(60)"
    record = submission.submit(workspace, "churn", make_config(tmp_path, script))
    for step in progress.follow(workspace, record.run_id):
        if b"go" in step.log:
            break

    submission.cancel(workspace, record.run_id)

    assert ended(workspace, record).status is RunStatus.CANCELED
    outputs = folder_store(workspace).run_folder(record.run_id) / "outputs"
    assert (outputs / "half").read_text() == "half"


def test_canceling_a_run_that_its_target_never_got_ends_it(
    workspace: Workspace, tmp_path: Path
) -> None:
    record = ended(workspace, submission.submit(workspace, "churn", make_config(tmp_path, "")))
    fresh = replace(record, run_id="never_got", status=RunStatus.NOT_STARTED, is_started=False)
    workspace.history.add(fresh)

    canceled = submission.cancel(workspace, "never_got")

    assert canceled.status is RunStatus.CANCELED
    submission.start(workspace, fresh)  # a submitter who was still at it
    assert workspace.history.get("never_got").status is RunStatus.CANCELED


def test_a_run_on_another_machine_is_unreachable_rather_than_lost(
    settings: Settings, tmp_path: Path
) -> None:
    here = Workspace(settings)
    config = make_config(tmp_path, "import time; time.sleep(1)")
    record = submission.submit(here, "churn", config)
    elsewhere = Workspace(replace(settings, local_root=tmp_path / "other machine"))

    with pytest.raises(TargetUnreachableError, match="another machine"):
        ended(elsewhere, record)

    assert ended(here, record).status is RunStatus.COMPLETED


def test_a_run_whose_folder_was_removed_is_failed(workspace: Workspace, tmp_path: Path) -> None:
    record = submission.submit(workspace, "churn", make_config(tmp_path, ""))
    workspace.get_target("local")
    while (
        workspace.get_target("local").observe({record.run_id: Seen()}, 1.0)[record.run_id].status
        is not RunStatus.COMPLETED
    ):
        pass
    workspace.get_target("local").discard(record.run_id)

    lost = ended(workspace, record)

    assert lost.status is RunStatus.FAILED
    assert lost.error is not None
    assert "has lost the run" in lost.error


def test_the_interpreter_that_submits_is_the_default(workspace: Workspace, tmp_path: Path) -> None:
    record = submission.submit(
        workspace, "churn", make_config(tmp_path, "import sys; print(sys.executable)")
    )

    ended(workspace, record)

    assert progress.log_end(workspace, record.run_id) == sys.executable


def test_a_retry_where_a_variable_of_sparks_is_not_set_fails_the_run_and_does_not_leave_it(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    root = tmp_path / "root"
    root.mkdir()
    (root / "blobs").write_text("in the way")
    extra = {"mltrain": {"root": str(root)}}
    connection = {"conn_type": "spark", "host": "spark://127.0.0.1", "port": 7077, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", json.dumps(connection))
    monkeypatch.setenv("MY_PASSWORD", "set")
    config = make_config(tmp_path, "print('never')")
    config.run_config.target = "cluster"
    config.run_config.spark.configuration = {"spark.my.password": "${MY_PASSWORD}"}
    with pytest.raises(TargetUnreachableError):
        submission.submit(workspace, "churn", config, FIRST)

    # when
    (root / "blobs").unlink()
    monkeypatch.delenv("MY_PASSWORD")
    with pytest.raises(JobStartError, match="MY_PASSWORD is not set"):
        submission.submit(workspace, "churn", config, FIRST)

    # then
    record = workspace.history.find_latest(KEY)
    assert record is not None
    assert record.status is RunStatus.FAILED
    assert "MY_PASSWORD" in str(record.error)
