from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from airflow_mltrain import Experiment, Run, ScriptRunConfig, Workspace
from airflow_mltrain.errors import (
    ArtifactError,
    ConfigurationError,
    RunFailedError,
    RunNotFoundError,
    WaitTimeoutError,
)
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.settings import Settings


@pytest.fixture
def experiment(settings: Settings) -> Experiment:
    return Experiment(Workspace(settings), "churn")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def submit(experiment: Experiment, project: Path, script: str) -> Run:
    (project / "train.py").write_text(textwrap.dedent(script))
    return experiment.submit(ScriptRunConfig(project, "train.py"))


def test_the_article_runs_as_written_with_nothing_configured(
    project: Path, airflow_home: Path
) -> None:
    (project / "train.py").write_text("print('trained')")
    article = """
    from airflow_mltrain import Environment, Experiment, ScriptRunConfig, Workspace

    ws = Workspace.from_config()
    experiment = Experiment(workspace=ws, name="my_experiment")

    my_environment = Environment("user-managed-env")
    my_environment.python.user_managed_dependencies = True

    script_run_config = ScriptRunConfig(source_directory="project", script="train.py")
    script_run_config.run_config.target = "local"
    script_run_config.run_config.environment = my_environment

    run = experiment.submit(config=script_run_config)
    run.wait_for_completion(show_output=True)
    """
    environment = {**os.environ, "AIRFLOW_HOME": str(airflow_home)}

    answer = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(article)],
        cwd=project.parent,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )

    assert answer.stdout == "trained\n"
    assert (airflow_home / "mltrain" / "history.db").exists()


def test_output_is_shown_as_it_grows(
    experiment: Experiment, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = submit(experiment, project, "print('h\\u00e9llo'); print('end', end='')")

    run.wait_for_completion(show_output=True)

    assert capsys.readouterr().out == "h\u00e9llo\nend"


def test_a_failed_run_raises_with_its_exit_code_and_the_end_of_its_log(
    experiment: Experiment, project: Path
) -> None:
    run = submit(experiment, project, "print('about to fail'); raise SystemExit(7)")

    with pytest.raises(RunFailedError, match=r"exit code 7\n(.|\n)*about to fail") as caught:
        run.wait_for_completion()

    assert (caught.value.run_id, caught.value.exit_code) == (run.id, 7)


def test_a_failed_run_does_not_raise_where_that_is_not_wanted(
    experiment: Experiment, project: Path
) -> None:
    run = submit(experiment, project, "raise SystemExit(7)")

    details = run.wait_for_completion(raise_on_error=False)

    assert (details["status"], details["exitCode"]) == ("Failed", 7)


def test_a_wait_that_takes_too_long_leaves_the_run_alone(
    experiment: Experiment, project: Path
) -> None:
    run = submit(experiment, project, "import time; time.sleep(2)")

    with pytest.raises(WaitTimeoutError, match="it goes on"):
        run.wait_for_completion(timeout_seconds=0.2)

    assert run.wait_for_completion()["status"] == "Completed"


def test_a_canceled_run_returns_its_details(experiment: Experiment, project: Path) -> None:
    run = submit(experiment, project, "import time; time.sleep(60)")

    run.cancel()

    assert run.wait_for_completion()["status"] == "Canceled"
    assert run.get_status() is RunStatus.CANCELED


def test_metrics_are_arranged_by_name(experiment: Experiment, project: Path) -> None:
    run = submit(
        experiment,
        project,
        """
        import mltrain
        run = mltrain.Run.get_context()
        run.log("accuracy", 0.93)
        run.log("loss", 1.0); run.log("loss", 0.5)
        run.log_list("classes", ["cat", "dog"])
        run.log_row("point", x=1, y=2); run.log_row("point", x=3)
        run.log_table("table", {"a": [1, 2], "b": [3, 4]})
        run.log("undefined", float("nan"))
        """,
    )
    run.wait_for_completion()

    metrics = run.get_metrics()

    assert str(metrics.pop("undefined")) == "nan"
    assert metrics == {
        "accuracy": 0.93,
        "loss": [1.0, 0.5],
        "classes": ["cat", "dog"],
        "point": {"x": [1, 3], "y": [2, None]},
        "table": {"a": [1, 2], "b": [3, 4]},
    }
    assert run.get_metrics("accuracy") == {"accuracy": 0.93}


def test_metrics_are_there_while_the_script_runs(experiment: Experiment, project: Path) -> None:
    run = submit(
        experiment,
        project,
        "import mltrain, time; mltrain.Run.get_context().log('live', 1); time.sleep(60)",
    )

    while not run.get_metrics():
        assert not run.get_status().is_terminal

    assert run.get_metrics() == {"live": 1}
    assert run.get_status() is RunStatus.RUNNING
    run.cancel()
    run.wait_for_completion()


def test_files_come_back_with_their_folders(
    experiment: Experiment, project: Path, tmp_path: Path
) -> None:
    run = submit(
        experiment,
        project,
        """
        import os
        os.makedirs("outputs/deep")
        open("outputs/deep/model.bin", "wb").write(bytes(range(256)))
        """,
    )
    run.wait_for_completion()

    run.download_files("outputs/", tmp_path / "there")
    run.download_file("outputs/deep/model.bin", tmp_path / "model.bin")

    assert run.get_file_names() == ["log", "outputs/deep/model.bin"]
    assert (tmp_path / "there/outputs/deep/model.bin").read_bytes() == bytes(range(256))
    assert (tmp_path / "model.bin").read_bytes() == bytes(range(256))


def test_files_go_where_they_are_wanted(
    experiment: Experiment, project: Path, tmp_path: Path
) -> None:
    run = submit(
        experiment,
        project,
        "for name in 'ab': open(f'outputs/{name}', 'w').write(name)",
    )
    run.wait_for_completion()

    run.download_files("outputs/", tmp_path / "bare", append_prefix=False)
    run.download_files("outputs/", None, [str(tmp_path / "one"), str(tmp_path / "two")])

    assert (tmp_path / "bare/a").read_text() + (tmp_path / "bare/b").read_text() == "ab"
    assert (tmp_path / "one").read_text() + (tmp_path / "two").read_text() == "ab"
    with pytest.raises(ConfigurationError, match="1 paths for 2 files: outputs/a, outputs/b"):
        run.download_files("outputs/", output_paths=["one"])


def test_no_file_takes_the_place_of_another_one(
    experiment: Experiment, project: Path, tmp_path: Path
) -> None:
    run = submit(
        experiment,
        project,
        """
        import os
        os.mkdir("outputs/a")
        for name in ("a/b", "ab"): open(f"outputs/{name}", "w").write(name)
        """,
    )
    run.wait_for_completion()

    with pytest.raises(
        ConfigurationError, match=r"outputs/a/b and outputs/ab would both go to .*bare/b;"
    ):
        run.download_files("outputs/a", tmp_path / "bare", append_prefix=False)
    with pytest.raises(ConfigurationError, match=r"would both go to .*bare/one;"):
        run.download_files("outputs/a", tmp_path / "bare", ["one", "./one"])

    assert not (tmp_path / "bare").exists()


def test_the_files_of_a_run_are_listed_once_however_many_are_copied(
    experiment: Experiment, project: Path, tmp_path: Path
) -> None:
    run = submit(
        experiment, project, "for number in range(20): open(f'outputs/{number}', 'w').close()"
    )
    run.wait_for_completion()
    asked: list[str] = []

    def count(*told: Any) -> None:
        asked.append(told[2])

    event.listen(Engine, "before_cursor_execute", count)
    try:
        run.download_files("outputs/1", tmp_path / "all")
        of_many = len(asked)
        run.download_files("outputs/3", tmp_path / "one")
    finally:
        event.remove(Engine, "before_cursor_execute", count)

    assert (len(list(tmp_path.glob("all/outputs/*"))), of_many) == (11, len(asked) - of_many)


def test_details_with_logs_hold_what_is_there_so_far_and_all_at_the_end(
    experiment: Experiment, project: Path, tmp_path: Path
) -> None:
    run = submit(
        experiment,
        project,
        """
        import os, time
        print("begun", flush=True)
        open("logs/deep.txt", "w").write("deep")
        while not os.path.exists("../../../go"): time.sleep(0.05)
        print("done")
        """,
    )
    while run.get_details_with_logs()["logFiles"] != {"log": "begun\n"}:
        assert not run.get_status().is_terminal

    (tmp_path / "local" / "go").touch()
    run.wait_for_completion()
    details = run.get_details_with_logs()
    written = run.get_all_logs(tmp_path / "all")

    assert details["logFiles"] == {"log": "begun\ndone\n", "logs/deep.txt": "deep"}
    assert sorted(run.get_details()["logFiles"]) == ["log", "logs/deep.txt"]
    assert [Path(path).read_text() for path in written] == ["begun\ndone\n", "deep"]


@pytest.mark.parametrize("name", ["outputs/absent", "../../history.db", "/etc/passwd", "outputs"])
def test_only_kept_files_can_be_downloaded(
    experiment: Experiment, project: Path, tmp_path: Path, name: str
) -> None:
    run = submit(experiment, project, "")
    run.wait_for_completion()

    with pytest.raises(ArtifactError, match="kept no file"):
        run.download_file(name, tmp_path / "stolen")


def test_a_snapshot_is_restored_as_it_was_submitted(
    experiment: Experiment, project: Path, tmp_path: Path
) -> None:
    run = submit(experiment, project, "print('first')")
    (project / "train.py").write_text("edited later")
    run.wait_for_completion()

    restored = run.restore_snapshot(path=tmp_path / "restored")

    assert (restored / "train.py").read_text() == "print('first')"
    with pytest.raises(ConfigurationError, match="not empty"):
        run.restore_snapshot(path=restored)


def test_an_unknown_run_is_named(experiment: Experiment) -> None:
    with pytest.raises(RunNotFoundError, match="never_heard_of"):
        Run.get(experiment.workspace, "never_heard_of")


def test_an_experiment_lists_its_runs_newest_first(experiment: Experiment, project: Path) -> None:
    runs = [submit(experiment, project, "") for _ in range(2)]

    listed = experiment.get_runs()

    for run in runs:
        run.wait_for_completion()
    assert [run.id for run in listed] == [run.id for run in reversed(runs)]
