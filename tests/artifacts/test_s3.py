"""A workspace whose artifacts lie on a server that speaks S3."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
import traceback
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from threading import Event

import pytest

from airflow_mltrain import Experiment, Run, ScriptRunConfig, Workspace, progress, submission
from airflow_mltrain.artifacts.opening import open_store
from airflow_mltrain.cli.program import main
from airflow_mltrain.completion import require_success
from airflow_mltrain.errors import ArtifactError, MLTrainError, RunFailedError
from airflow_mltrain.retention import collect_artifacts
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.settings import Settings, StoreUrl
from tests.artifacts import storing
from tests.services.object_store import ObjectStore, Seen
from tests.services.patience import PATIENCE_SECONDS

_SIDE_BY_SIDE = 8
_AT_ONCE = timedelta(seconds=-5)  # by when everything is old
_SCRIPT = """
import pathlib
print("trained")
pathlib.Path("outputs/model").write_bytes(bytes(range(256)))
pathlib.Path("outputs/deep").mkdir()
pathlib.Path("outputs/deep/note +%41").write_text("kept")
pathlib.Path("logs/own").write_text("own log")
"""


@pytest.fixture
def place(object_store: ObjectStore) -> str:
    return object_store.new_prefix()


@pytest.fixture
def settings(settings: Settings, place: str, tmp_path: Path) -> Settings:
    return replace(settings, artifacts_url=StoreUrl("s3", place), artifacts=tmp_path / "cache")


@pytest.fixture
def project(project: Path) -> Path:
    (project / "train.py").write_text(_SCRIPT)
    for number in range(20):
        (project / f"module_{number}.py").write_text(f"VALUE = {number}")
    then = time.time() - 60  # what was changed just now is read again in any case
    for path in project.iterdir():
        os.utime(path, (then, then))
    return project


def elsewhere(settings: Settings, tmp_path: Path) -> Workspace:
    """The same workspace on a machine that has no copy of anything."""
    return Workspace(replace(settings, artifacts=tmp_path / "cache elsewhere"))


def submit(workspace: Workspace, project: Path) -> Run:
    return Experiment(workspace, "churn").submit(ScriptRunConfig(project, "train.py"))


def blobs_sent(store: ObjectStore) -> int:
    return sum(seen.is_sent_blob for seen in store.seen)


def end_of(process: ForkServerProcess) -> int | None:
    process.join(PATIENCE_SECONDS)
    return process.exitcode


def test_a_run_is_submitted_followed_and_kept_without_a_local_store(
    workspace: Workspace,
    settings: Settings,
    project: Path,
    tmp_path: Path,
    object_store: ObjectStore,
    place: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # given
    run = submit(workspace, project)

    # when
    run.wait_for_completion(show_output=True)

    # then: byte for byte in the bucket, for whoever lists it
    assert "trained" in capsys.readouterr().out
    found = object_store.objects(f"{place}/runs/{run.id}")
    manifest = json.loads(found.pop("manifest.json"))
    prefixes = {key.partition("/")[0] for key in found}
    assert len(prefixes) == 1
    kept = {key.partition("/")[2]: content for key, content in found.items()}
    assert kept == {
        "log": b"trained\n",
        "logs/own": b"own log",
        "outputs/model": bytes(range(256)),
        "outputs/deep/note +%2541": b"kept",
    }
    digests = {file["name"]: file["sha256"] for file in manifest["files"]}
    assert digests["outputs/model"] == hashlib.sha256(bytes(range(256))).hexdigest()
    blobs = object_store.objects(f"{place}/blobs")
    assert all(key[3:] == hashlib.sha256(content).hexdigest() for key, content in blobs.items())
    assert set(blobs.values()) == {path.read_bytes() for path in project.iterdir()}

    # and then: for whoever reads it with an empty cache
    other = Run.get(elsewhere(settings, tmp_path), run.id)
    assert other.get_file_names() == ["log", "logs/own", "outputs/deep/note +%41", "outputs/model"]
    details = other.get_details_with_logs()
    assert details["logFiles"] == {"log": "trained\n", "logs/own": "own log"}
    other.download_files("outputs/", tmp_path / "downloaded")
    assert (tmp_path / "downloaded/outputs/deep/note +%41").read_text() == "kept"
    other.restore_snapshot(path=tmp_path / "restored")
    restored = {path.name: path.read_bytes() for path in (tmp_path / "restored").iterdir()}
    assert restored == {path.name: path.read_bytes() for path in project.iterdir()}
    prefix = f"s3://{place}/runs/{run.id}/{prefixes.pop()}"
    assert workspace.artifacts.outputs_uri(run.id) == f"{prefix}/outputs"
    assert other.get_details()["logFiles"]["log"] == f"{prefix}/log"


def test_only_what_changed_is_sent(
    workspace: Workspace,
    settings: Settings,
    project: Path,
    tmp_path: Path,
    object_store: ObjectStore,
) -> None:
    submit(workspace, project).wait_for_completion()
    first = blobs_sent(object_store)

    object_store.forget()
    submit(workspace, project)
    unchanged = [seen for seen in object_store.seen if "/lock/" not in seen.path]
    object_store.forget()
    submit(elsewhere(settings, tmp_path), project)
    on_another_machine = blobs_sent(object_store)
    (project / "module_3.py").write_text("VALUE = 'changed'")
    object_store.forget()
    submit(workspace, project).wait_for_completion()

    assert first == 21
    assert [seen for seen in unchanged if "/runs/" not in seen.path] == []
    assert on_another_machine == 0
    assert blobs_sent(object_store) == 1


def test_a_store_that_has_next_to_nothing_is_not_asked_for_every_file(
    workspace: Workspace, project: Path, object_store: ObjectStore, place: str
) -> None:
    # given
    for number in range(100):
        (project / f"more_{number}.py").write_text(f"MORE = {number}")
    (project / "large.bin").write_bytes(os.urandom(100_000))

    # when
    submit(workspace, project)

    # then
    asked = [seen.path for seen in object_store.seen if seen.method == "HEAD"]
    large = hashlib.sha256((project / "large.bin").read_bytes()).hexdigest()
    assert len([path for path in asked if "/blobs/" in path]) in (16, 17)
    assert blobs_sent(object_store) == 122
    assert large in {key[3:] for key in object_store.objects(f"{place}/blobs")}


def test_a_blob_that_was_removed_is_sent_again(
    workspace: Workspace,
    settings: Settings,
    project: Path,
    tmp_path: Path,
    object_store: ObjectStore,
    place: str,
) -> None:
    # given: a machine that has not looked for long, which is as one that has no record
    submit(workspace, project).wait_for_completion()
    digest = hashlib.sha256((project / "module_7.py").read_bytes()).hexdigest()
    object_store.remove(place, f"blobs/{digest[:2]}/{digest}")
    object_store.forget()

    # when
    submit(elsewhere(settings, tmp_path), project).wait_for_completion()

    # then
    assert blobs_sent(object_store) == 1
    assert f"{digest[:2]}/{digest}" in object_store.objects(f"{place}/blobs")


def test_copies_that_were_removed_are_made_again(
    workspace: Workspace, settings: Settings, project: Path, object_store: ObjectStore, place: str
) -> None:
    submit(workspace, project).wait_for_completion()
    digest = hashlib.sha256((project / "module_7.py").read_bytes()).hexdigest()
    (settings.artifacts / "blobs" / digest[:2] / digest).unlink()
    object_store.remove(place, f"blobs/{digest[:2]}/{digest}")
    for record in (settings.artifacts / "known-blobs").iterdir():
        record.unlink()

    submit(workspace, project).wait_for_completion()

    assert f"{digest[:2]}/{digest}" in object_store.objects(f"{place}/blobs")


class _Killer:
    """Kills a process as it is about to make its request of that number."""

    def __init__(self, process: ForkServerProcess, number: int) -> None:
        self._process = process
        self._number = number
        self.is_late = True  # it makes fewer

    def __call__(self, seen: Seen, count: int) -> str | None:
        del seen
        if count != self._number:
            return None
        self.is_late = False
        os.kill(self._process.pid or 0, signal.SIGKILL)
        return "before"


def test_whenever_who_stores_a_run_is_killed_the_next_one_completes_it(
    settings: Settings, object_store: ObjectStore, tmp_path: Path
) -> None:
    variables = object_store.variables()
    number = 0
    visible: list[bool] = []
    is_over = False
    while not is_over:
        number += 1
        object_store.forget()
        url = StoreUrl("s3", object_store.new_prefix())
        trial = replace(settings, artifacts_url=url, artifacts=tmp_path / str(number))
        process = storing.start(variables, storing.keep_run, trial, storing.FILES)
        killer = _Killer(process, number)
        # when: the process begins to ask only after it has a relay that strikes
        object_store.strike = killer
        end_of(process)
        is_over = killer.is_late
        object_store.forget()
        kept = open_store(trial).find_run("run_1")
        visible.append(kept is not None)
        if kept is not None:
            assert {name: kept.read(name) for name in storing.FILES} == storing.FILES
        storing.keep_run(trial, storing.FILES)
        kept = open_store(trial).find_run("run_1")
        assert kept is not None
        assert {name: kept.read(name) for name in storing.FILES} == storing.FILES

    assert visible[0] is False
    assert visible[-1] is True
    assert number > 8


def test_whenever_who_submits_is_killed_the_retry_goes_on(
    settings: Settings, object_store: ObjectStore, project: Path, tmp_path: Path
) -> None:
    for path in project.glob("module_1?.py"):
        path.unlink()
    variables = object_store.variables()
    number, is_over = 0, False
    while not is_over:
        number += 3
        object_store.forget()
        folder = tmp_path / f"trial {number}"
        folder.mkdir()
        trial = replace(
            settings,
            database_url=f"sqlite:///{folder}/history.db",
            artifacts_url=StoreUrl("s3", object_store.new_prefix()),
            artifacts=folder / "cache",
            local_root=folder / "local",
        )
        process = storing.start(variables, storing.submit, trial, project)
        killer = _Killer(process, number)
        object_store.strike = killer
        end_of(process)
        is_over = killer.is_late
        object_store.forget()
        workspace = Workspace(trial)
        recorded = list(workspace.history.read_runs())
        for record in recorded:  # what is recorded has all of its code in the store
            open_store(replace(trial, artifacts=folder / "empty")).restore_snapshot(
                record.snapshot_id, folder / "restored"
            )
        config = ScriptRunConfig(project, "train.py")
        record = submission.submit(workspace, "churn", config, storing.OCCASION)
        ended = progress.await_end(workspace, record.run_id, timeout_seconds=PATIENCE_SECONDS)
        assert ended.status is RunStatus.COMPLETED, ended.error
        assert [run.run_id for run in workspace.history.read_runs()] == [record.run_id]

    assert number > 20


def test_of_two_that_store_a_run_at_once_one_counts(
    settings: Settings, object_store: ObjectStore, tmp_path: Path
) -> None:
    # given: two that found different logs, and both are about to say that the run is theirs
    variables = object_store.variables()
    waiting: list[Seen] = []

    def strike(seen: Seen, _count: int) -> None:
        if seen.method == "PUT" and seen.path.endswith("manifest.json"):
            waiting.append(seen)
            deadline = time.monotonic() + PATIENCE_SECONDS
            while len(waiting) < 2 and time.monotonic() < deadline:
                time.sleep(0.01)

    object_store.strike = strike

    # when
    processes = [
        storing.start(
            variables,
            storing.keep_run,
            replace(settings, artifacts=tmp_path / name),
            {"log": name.encode() * 100},
        )
        for name in ("one", "two")
    ]
    codes = [end_of(process) for process in processes]

    # then
    assert codes == [0, 0]
    assert len(waiting) == 2
    kept = open_store(settings).find_run("run_1")
    assert kept is not None
    assert kept.read("log") in (b"one" * 100, b"two" * 100)
    assert open_store(settings).run_ids() == ["run_1"]


def test_a_connection_that_is_cut_in_the_middle_of_everything_hurts_nobody(
    settings: Settings, object_store: ObjectStore
) -> None:
    # given: every third request is cut, before it, after it, or in the middle of its answer
    object_store.strike = lambda _seen, number: {0: "before", 4: "after", 8: "within"}.get(
        number % 12
    )

    # when
    files = {**storing.FILES, "outputs/large": os.urandom(20 << 20)}
    storing.keep_run(settings, files)
    kept = open_store(settings).find_run("run_1")

    # then
    assert kept is not None
    assert {name: kept.read(name) for name in files} == files


@pytest.mark.parametrize("fate", ["before", "within"])
def test_a_wait_outlasts_a_store_that_does_not_answer(
    workspace: Workspace,
    project: Path,
    object_store: ObjectStore,
    caplog: pytest.LogCaptureFixture,
    fate: str,
) -> None:
    # given: a store that is gone, or whose answers are cut, until the wait has said so
    run = submit(workspace, project)
    object_store.strike = lambda _seen, _number: None if "unobserved" in caplog.text else fate

    # when
    details = run.wait_for_completion()

    # then
    assert details["status"] == "Completed"
    assert "outputs/model" in run.get_file_names()
    assert f"{run.id} goes on unobserved for now: the artifact" in caplog.text


def test_why_a_run_failed_is_said_without_its_log(
    workspace: Workspace, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "train.py").write_text("raise SystemExit(7)")
    run = submit(workspace, project)
    progress.await_end(workspace, run.id, timeout_seconds=PATIENCE_SECONDS)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    workspace = Workspace(workspace.settings)

    with pytest.raises(RunFailedError, match="exit code 7"):
        require_success(workspace, workspace.history.get(run.id))
    assert Run.get(workspace, run.id).get_details()["exitCode"] == 7


def test_no_secret_is_in_what_an_error_came_of(
    settings: Settings, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: an address that has the secret in it, which errors of botocore show
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter22")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1/hunter22")
    place = object_store.new_prefix()

    # when
    with pytest.raises(ArtifactError, match=r"127\.0\.0\.1:1") as refusal:
        open_store(replace(settings, artifacts_url=StoreUrl("s3", place))).run_ids()

    # then
    assert "hunter22" not in "".join(traceback.format_exception(refusal.value))


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong-secret-value"}, "refuses this process"),
        ({"AWS_ACCESS_KEY_ID": "NOBODY"}, "refuses this process"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "can be reached from here"),
    ],
)
def test_a_store_that_cannot_be_used_is_told_of_before_anything_is_recorded(
    workspace: Workspace,
    project: Path,
    object_store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    words: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ArtifactError, match=words) as refusal:
        submit(workspace, project)

    assert str(workspace.settings.artifacts_url) in str(refusal.value)
    assert object_store.secret not in str(refusal.value)
    assert "wrong-secret-value" not in str(refusal.value)
    assert list(workspace.history.read_runs()) == []


@pytest.mark.usefixtures("object_store")
def test_a_bucket_that_is_not_there_is_named(settings: Settings, project: Path) -> None:
    workspace = Workspace(replace(settings, artifacts_url=StoreUrl("s3", "nowhere/at-all")))

    with pytest.raises(ArtifactError, match=r"s3://nowhere/at-all is not there.*make that bucket"):
        submit(workspace, project)

    assert list(workspace.history.read_runs()) == []


def test_what_was_damaged_in_the_store_is_not_handed_out(
    workspace: Workspace, project: Path, object_store: ObjectStore, place: str, tmp_path: Path
) -> None:
    run = submit(workspace, project)
    run.wait_for_completion()
    key = next(key for key in object_store.objects(f"{place}/runs/{run.id}") if "model" in key)
    whole = f"{place}/runs/{run.id}/{key}".partition("/")[2]
    object_store.client().put_object(Bucket=place.partition("/")[0], Key=whole, Body=b"x" * 256)

    with pytest.raises(ArtifactError, match=r"outputs/model of run .* is not what was stored"):
        run.download_file("outputs/model", str(tmp_path / "model"))

    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("name", "links"),
    [
        ("../../evil", {}),
        ("outputs/a/evil", {"outputs/a": "/elsewhere"}),
        ("log", {"outputs/a": "/elsewhere", "outputs/a/evil": "x"}),
        ("outputs/a", {"outputs/a": "/elsewhere"}),
    ],
)
def test_a_manifest_that_leads_out_of_its_run_is_not_followed(
    settings: Settings, object_store: ObjectStore, place: str, name: str, links: dict[str, str]
) -> None:
    file = {"name": name, "mode": 0o644, "size": 1, "sha256": "0" * 64}
    manifest = {"version": 1, "files": [file], "directories": {}, "links": links}
    bucket, _, prefix = place.partition("/")
    object_store.client().put_object(
        Bucket=bucket, Key=f"{prefix}/runs/run_1/manifest.json", Body=json.dumps(manifest).encode()
    )

    with pytest.raises(ArtifactError, match=r"outside of the run|twice"):
        open_store(settings).find_run("run_1")


def test_large_outputs_take_little_memory(
    settings: Settings, object_store: ObjectStore, tmp_path: Path
) -> None:
    source, report = tmp_path / "large", tmp_path / "report"
    hashed = hashlib.sha256()
    with source.open("wb") as file:
        for _ in range(220):
            block = os.urandom(1 << 20)
            hashed.update(block)
            file.write(block)

    process = storing.start(object_store.variables(), storing.keep_large, settings, source, report)

    assert end_of(process) == 0
    used, digest = report.read_text().split()
    assert digest == hashed.hexdigest()
    assert int(used) < 150 << 20


def test_what_nobody_needs_is_removed_and_what_is_needed_stays(
    workspace: Workspace,
    settings: Settings,
    project: Path,
    object_store: ObjectStore,
    place: str,
    tmp_path: Path,
) -> None:
    # given
    run = submit(workspace, project)
    run.wait_for_completion()
    orphan = workspace.artifacts.blobs.put_bytes(b"nobody's")
    draft = f"{place}/runs/left/0123/log".partition("/")[2]
    object_store.client().put_object(Bucket=place.partition("/")[0], Key=draft, Body=b"half")
    before = object_store.objects(place)

    # when
    kept_young = collect_artifacts(workspace)
    would_go = collect_artifacts(workspace, is_dry_run=True, least_age=_AT_ONCE)
    untouched = object_store.objects(place)
    gone = collect_artifacts(workspace, least_age=_AT_ONCE)

    # then
    assert (kept_young.blobs.number, kept_young.run_ids) == (0, ())
    assert {key for key in untouched if "lock/" not in key} == set(before) - {
        key for key in before if "lock/" in key
    }
    assert would_go == gone
    assert (gone.blobs.number, gone.blobs.size_bytes) == (1, len(b"nobody's"))
    after = object_store.objects(place)
    lost = {key for key in before if "lock/" not in key} - set(after)
    assert lost == {f"blobs/{orphan[:2]}/{orphan}", "runs/left/0123/log"}
    run.restore_snapshot(path=tmp_path / "restored")

    # and then: what was removed is sent again by who knew that it was there
    other = elsewhere(settings, tmp_path)
    submit(workspace, project).wait_for_completion()
    collect_artifacts(other, datetime.now(timezone.utc) + timedelta(days=1), least_age=_AT_ONCE)
    assert object_store.objects(f"{place}/blobs") == {}
    object_store.forget()
    submit(workspace, project).wait_for_completion()
    assert blobs_sent(object_store) == 21


@pytest.mark.parametrize("asked", ["/snapshots/", "/manifest.json"])
def test_who_clears_a_store_asks_for_many_manifests_side_by_side(
    settings: Settings, project: Path, tmp_path: Path, object_store: ObjectStore, asked: str
) -> None:
    # given
    store = open_store(settings)
    for number in range(_SIDE_BY_SIDE):
        (project / "train.py").write_text(f"print({number})")
        store.take_snapshot(project, max_bytes=1_000_000)
        with store.keep_run(f"run_{number}") as folder:
            (folder / "log").write_text("trained")
    waiting: list[Seen] = []
    alone: list[Seen] = []
    are_together = Event()

    def strike(seen: Seen, _number: int) -> None:
        if seen.method == "GET" and asked in seen.path:
            waiting.append(seen)
            if len(waiting) == _SIDE_BY_SIDE:
                are_together.set()
            if not are_together.wait(PATIENCE_SECONDS):
                alone.append(seen)
                are_together.set()

    object_store.strike = strike

    # when
    other = elsewhere(settings, tmp_path)
    snapshots = [blob.name for blob in other.artifacts.blobs.list_blobs()]
    other.artifacts.blobs.listed_in(snapshots)
    with other.artifacts.alone(PATIENCE_SECONDS) as is_alone:
        assert is_alone
        other.artifacts.remove_drafts(other.artifacts.now() + 5)

    # then: each of them once
    assert alone == []
    assert len({seen.path for seen in waiting}) == len(waiting) == _SIDE_BY_SIDE
    assert store.run_ids() == sorted(f"run_{number}" for number in range(_SIDE_BY_SIDE))


@pytest.mark.parametrize("lost", ["snapshots", "runs"])
def test_a_store_of_which_one_manifest_cannot_be_read_is_not_cleared(
    workspace: Workspace,
    settings: Settings,
    project: Path,
    tmp_path: Path,
    object_store: ObjectStore,
    place: str,
    lost: str,
) -> None:
    # given: two runs, and what would go
    submit(workspace, project).wait_for_completion()
    (project / "train.py").write_text("print('another')")
    run = submit(workspace, project)
    run.wait_for_completion()
    orphan = workspace.artifacts.blobs.put_bytes(b"nobody's")
    manifests = (key for key in object_store.objects(f"{place}/{lost}") if key.count("/") == 1)
    [path, *_] = sorted(manifests)
    object_store.strike = lambda seen, _number: (
        "before" if seen.method == "GET" and seen.path.endswith(f"/{lost}/{path}") else None
    )

    # when
    with pytest.raises(ArtifactError):
        collect_artifacts(elsewhere(settings, tmp_path), least_age=_AT_ONCE)

    # then
    object_store.forget()
    assert f"{orphan[:2]}/{orphan}" in object_store.objects(f"{place}/blobs")
    gone = collect_artifacts(elsewhere(settings, tmp_path), least_age=_AT_ONCE)
    assert gone.blobs.number == 1
    run.restore_snapshot(path=tmp_path / "restored")


def test_a_store_with_a_snapshot_of_a_newer_version_is_not_cleared(
    workspace: Workspace, object_store: ObjectStore, place: str
) -> None:
    manifest = b'{"version": 2}\n{"blob": "' + b"0" * 64 + b'"}\n'
    digest = hashlib.sha256(manifest).hexdigest()
    bucket, _, prefix = place.partition("/")
    key = f"{prefix}/snapshots/{digest[:2]}/{digest}"
    object_store.client().put_object(Bucket=bucket, Key=key, Body=manifest)
    orphan = workspace.artifacts.blobs.put_bytes(b"perhaps of that snapshot")

    with pytest.raises(ArtifactError, match=f"{digest} cannot be read.*version unknown here"):
        collect_artifacts(workspace)

    assert f"{orphan[:2]}/{orphan}" in object_store.objects(f"{place}/blobs")


def test_a_retry_goes_on_from_outputs_that_only_the_store_has(
    workspace: Workspace, project: Path
) -> None:
    # given
    (project / "train.py").write_text(
        "import os, pathlib, sys\n"
        "from mltrain import Run\n"
        "previous = Run.get_context().previous_outputs\n"
        "if previous: print(sorted(os.listdir(previous)), os.access(previous + '/run', os.X_OK))\n"
        "pathlib.Path('outputs/empty').mkdir()\n"
        "pathlib.Path('outputs/run').touch(mode=0o755)\n"
        "sys.exit(previous is None)\n"
    )
    config = ScriptRunConfig(project, "train.py")
    first = submission.submit(workspace, "churn", config, storing.OCCASION)
    progress.await_end(workspace, first.run_id, timeout_seconds=PATIENCE_SECONDS)
    workspace.get_target("local").discard(first.run_id)

    # when
    second = submission.submit(workspace, "churn", config, storing.OCCASION)
    ended = progress.await_end(workspace, second.run_id, timeout_seconds=PATIENCE_SECONDS)

    # then
    assert ended.status is RunStatus.COMPLETED, ended.error
    assert progress.log_end(workspace, second.run_id) == "['empty', 'run'] True"


def test_credentials_may_come_from_an_airflow_connection(
    settings: Settings,
    project: Path,
    object_store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # given: no credentials but in the connection
    bucket, _, prefix = object_store.new_prefix().partition("/")
    for name in object_store.variables():
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AIRFLOW_CONN_STORE", object_store.connection())
    monkeypatch.setenv("AIRFLOW__MLTRAIN__ARTIFACTS", f"s3://store@{bucket}/{prefix}")
    monkeypatch.setenv("AIRFLOW__MLTRAIN__DATABASE", settings.database_url)
    monkeypatch.setenv("AIRFLOW__MLTRAIN__LOCAL_ROOT", str(settings.local_root))

    # when
    run = submit(Workspace.from_config(), project)
    run.wait_for_completion()
    code = main(["download", run.id, "outputs/model", "--output", str(tmp_path / "out")])

    # then
    assert code == 0
    assert (tmp_path / "out/outputs/model").read_bytes() == bytes(range(256))
    assert run.get_details()["logFiles"]["log"].startswith(f"s3://store@{bucket}/{prefix}/runs/")
    shown = capsys.readouterr()
    assert object_store.secret not in shown.out + shown.err + json.dumps(run.get_details())


def test_a_connection_that_airflow_does_not_have_is_named(
    settings: Settings, project: Path, object_store: ObjectStore
) -> None:
    url = StoreUrl("s3", object_store.new_prefix(), "nowhere")
    workspace = Workspace(replace(settings, artifacts_url=url))

    with pytest.raises(MLTrainError, match="connection 'nowhere'"):
        submit(workspace, project)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (StoreUrl("gs", "bucket/prefix"), r"gs://bucket/prefix.*package.*gcsfs"),
        (StoreUrl("abfs", "c@a.dfs.core.windows.net"), r"abfs://c@a\.dfs\..*package.*adlfs"),
        (StoreUrl("abfss", "c@a.dfs.core.windows.net"), r"abfss://c@a\.dfs\..*package.*adlfs"),
        (StoreUrl("abfs", "account/prefix", "container"), r"'container'.*account\.dfs\.core"),
        (StoreUrl("nowhere", "at-all"), r"nowhere://at-all.*package.*name another place"),
    ],
)
def test_a_store_that_cannot_be_opened_is_told_with_what_would_help(
    settings: Settings, project: Path, url: StoreUrl, words: str
) -> None:
    workspace = Workspace(replace(settings, artifacts_url=url))

    with pytest.raises(MLTrainError, match=words):
        submit(workspace, project)
