from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_mltrain import Experiment, ScriptRunConfig, Workspace
from airflow_mltrain.artifacts.folder_store import FolderStore
from airflow_mltrain.errors import ArtifactError
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.settings import Settings


def test_a_run_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    keeping = FolderStore(tmp_path).keep_run("run_1")
    (keeping.__enter__() / "log").write_text("half")

    keeping.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)

    assert list((tmp_path / "runs").iterdir()) == []


def test_whoever_keeps_a_run_second_changes_nothing(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    with store.keep_run("run_1") as second:
        (second / "log").write_text("second")
        with store.keep_run("run_1") as first:
            (first / "log").write_text("first")

    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["run_1"]
    assert (store.run_folder("run_1") / "log").read_text() == "first"


def test_the_files_of_a_run_that_is_removed_meanwhile_are_all_there_or_none(
    tmp_path: Path,
) -> None:
    # given
    store = FolderStore(tmp_path)
    names = {f"{folder}/{number}" for folder in ("logs", "outputs") for number in range(20)}
    seen: list[int] = []

    def list_often() -> None:
        while not seen or seen[-1]:
            kept = store.find_run("run_1")
            seen.append(0 if kept is None else len(kept.list_files()))

    # when
    for _ in range(50):
        seen.clear()
        with store.keep_run("run_1") as draft:
            for name in names:
                (draft / name).parent.mkdir(exist_ok=True)
                (draft / name).touch()
        with ThreadPoolExecutor() as pool:
            listing = pool.submit(list_often)
            while not seen:
                time.sleep(0)
            store.remove_run("run_1")
            listing.result()

        # then
        assert set(seen) == {0, len(names)}


def test_a_store_that_cannot_be_written_loses_no_run(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "train.py").write_text("open('outputs/model', 'w').write('good')")
    experiment = Experiment(Workspace(settings), "churn")
    run = experiment.submit(ScriptRunConfig(tmp_path / "project", "train.py"))
    (settings.artifacts / "runs").write_text("in the way")

    with pytest.raises(ArtifactError, match=f"run {run.id}.*could not be stored"):
        run.wait_for_completion()

    assert experiment.workspace.history.get(run.id).status is RunStatus.FINALIZING
    (settings.artifacts / "runs").unlink()
    assert run.wait_for_completion()["status"] == "Completed"
    assert run.get_file_names() == ["log", "outputs/model"]
