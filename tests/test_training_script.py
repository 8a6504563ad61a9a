"""What training scripts say, from their process to the run history, on a real compute target."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import Any

import pytest

from airflow_mltrain import (
    Environment,
    Experiment,
    Run,
    RunConfiguration,
    RunStatus,
    ScriptRunConfig,
    Workspace,
    progress,
)
from airflow_mltrain.errors import ConfigurationError
from airflow_mltrain.settings import Settings

_BEGIN = "from azureml.core import Run\nrun = Run.get_context()\n"


@pytest.fixture
def experiment(settings: Settings) -> Experiment:
    return Experiment(Workspace(settings), "churn")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def submit(experiment: Experiment, project: Path, script: str, **facts: Any) -> Run:
    """A run of a script written for Azure ML."""
    (project / "train.py").write_text(_BEGIN + textwrap.dedent(script))
    return experiment.submit(ScriptRunConfig(project, "train.py", **facts))


def log_of(run: Run, tmp_path: Path) -> str:
    run.download_file("log", tmp_path / "log")
    return (tmp_path / "log").read_text()


def test_a_script_of_azure_ml_runs_unmodified_and_all_it_says_is_kept(
    experiment: Experiment, project: Path, tmp_path: Path
) -> None:
    script = """
        print(run.number, run.experiment.name, run.parent, run.get_tags()["team"])
        print(run.get_details()["runDefinition"]["script"], run.get_details()["target"])
        print(run.get_environment().name, run.get_environment().python.user_managed_dependencies)
        run.log("accuracy", 0.93)
        run.log_image("roc", path="plot.png")
        run.log_confusion_matrix("matrix", {"schema_type": "confusion_matrix",
            "data": {"class_labels": ["a", "b"], "matrix": [[1, 2], [3, 4]]}})
        run.set_tags({"team": "risk", "stage": 1})
        run.add_properties({"framework": "none"})
        run.display_name = "the best one"
        open("outputs/model.pkl", "w").write("m")
        run.register_model("churn", model_path="outputs/model.pkl", tags={"a": 1})
        print(run.get_metrics()["accuracy"], run.get_properties()["framework"])
        run.complete()
        """
    (project / "plot.png").write_bytes(b"png")
    environment = Environment("mine")
    environment.python.user_managed_dependencies = True
    config = RunConfiguration(environment=environment)
    submit(experiment, project, "").wait_for_completion()

    run = submit(experiment, project, script, tags={"team": "growth"}, run_config=config)
    run.wait_for_completion()

    assert log_of(run, tmp_path) == ("2 churn None growth\ntrain.py local\nmine True\n0.93 none\n")
    assert run.get_metrics() == {
        "accuracy": 0.93,
        "roc": "outputs/images/roc.png",
        "matrix": {
            "schema_type": "confusion_matrix",
            "data": {"class_labels": ["a", "b"], "matrix": [[1, 2], [3, 4]]},
        },
    }
    assert run.get_tags() == {"team": "risk", "stage": "1"}
    assert run.get_properties()["framework"] == "none"
    assert (run.display_name, run.number, run.parent) == ("the best one", 2, None)
    [model] = run.get_models()
    assert (model.name, model.facts["path"], model.facts["tags"]) == (
        "churn",
        "outputs/model.pkl",
        {"a": "1"},
    )
    assert run.get_file_names() == ["log", "outputs/images/roc.png", "outputs/model.pkl"]


def test_children_are_runs_with_metrics_and_an_end(experiment: Experiment, project: Path) -> None:
    run = submit(
        experiment,
        project,
        """
        run.log("loss", 1.0)
        with run.child_run("fold 1") as one:
            one.log("loss", 0.5); one.tag("fold", 1)
            deep = one.child_run("deep")
        try:
            with run.child_run("fold 2") as two:
                raise ValueError("bad fold")
        except ValueError:
            pass
        """,
    )
    run.wait_for_completion()

    one, two = run.get_children()
    [deep] = one.get_children()

    assert (one.display_name, one.get_tags(), one.get_metrics()) == (
        "fold 1",
        {"fold": "1"},
        {"loss": 0.5},
    )
    assert [child.get_status() for child in (one, two, deep)] == [
        RunStatus.COMPLETED,
        RunStatus.FAILED,
        RunStatus.COMPLETED,
    ]
    assert two.get_details()["error"] == "ValueError: bad fold"
    assert [child.id for child in run.get_children(recursive=True)] == [one.id, deep.id, two.id]
    assert (deep.parent and deep.parent.id, run.parent) == (one.id, None)
    assert run.get_metrics() == {"loss": 1.0}
    assert run.get_metrics(recursive=True) == {
        run.id: {"loss": 1.0},
        one.id: {"loss": 0.5},
        deep.id: {},
        two.id: {},
    }
    assert one.wait_for_completion()["status"] == "Completed"


def test_children_are_seen_while_the_script_runs_and_cannot_be_canceled_alone(
    experiment: Experiment, project: Path
) -> None:
    run = submit(experiment, project, "import time; run.child_run('one'); time.sleep(60)")
    while not (children := list(run.get_children())):
        assert not run.get_status().is_terminal
    [child] = children

    with pytest.raises(ConfigurationError, match=f"cancel that one|{run.id}"):
        child.cancel()

    assert child.get_status() is RunStatus.RUNNING
    workspace = experiment.workspace
    record = workspace.history.get(child.id)
    followed = progress.take_in(workspace, record, workspace.get_target("local"), None)
    assert followed.status is RunStatus.RUNNING  # its target knows no such job, and it is not lost
    run.cancel()
    assert child.wait_for_completion()["status"] == "Canceled"
    assert run.wait_for_completion()["status"] == "Canceled"


def test_a_submitted_child_is_a_process_of_the_same_job(
    experiment: Experiment, project: Path
) -> None:
    (project / "child.py").write_text(
        _BEGIN + "import sys; run.log('rate', float(sys.argv[1])); print('trained');"
        "sys.exit(int(sys.argv[2]))"
    )
    run = submit(
        experiment,
        project,
        """
        from azureml.core import ScriptRunConfig
        good = run.submit_child(ScriptRunConfig(".", "child.py", [0.5, 0]), tags={"n": 1})
        bad = run.submit_child(ScriptRunConfig(".", "child.py", [0.25, 3]))
        good.wait_for_completion(show_output=True)
        try:
            bad.wait_for_completion()
        except RuntimeError as error:
            print(error)
        print(good.get_metrics(), good.get_tags())
        try:
            ScriptRunConfig(".", "child.py", compute_target="gpu")
        except ValueError as error:
            print(error)
        """,
    )
    run.wait_for_completion()

    good, bad = run.get_children()

    log = log_of(run, project)
    assert log.startswith("trained\n")
    assert f"{bad.id} failed: exit code 3\nThe end of its log:\ntrained" in log
    assert "{'rate': 0.5} {'n': '1'}" in log
    assert "compute_target: a script that another one submits runs on the same machine" in log
    assert [child.get_status() for child in (good, bad)] == ["Completed", "Failed"]
    assert (good.get_metrics(), bad.get_metrics()) == ({"rate": 0.5}, {"rate": 0.25})
    assert good.get_details()["runDefinition"]["arguments"] == ["0.5", "0"]
    assert f"logs/{good.id}.txt" in run.get_file_names()


@pytest.mark.parametrize("end", ["", "import os; os._exit(0)"], ids=["ends", "exits hard"])
def test_a_child_that_outlives_its_parent_is_stopped_and_said_to_be(
    experiment: Experiment, project: Path, end: str
) -> None:
    (project / "child.py").write_text(
        _BEGIN + "import time; run.log('before', 1); open('begun', 'w'); time.sleep(60)"
    )
    run = submit(
        experiment,
        project,
        f"""
        import os, time
        from azureml.core import ScriptRunConfig
        run.submit_child(ScriptRunConfig(".", "child.py"))
        while not os.path.exists("begun"):
            time.sleep(0.01)
        {end}
        """,
    )
    run.wait_for_completion()

    [child] = run.get_children()

    details = child.get_details()
    assert details["status"] == "Canceled"
    assert details["error"] == "the script of its parent ended first"
    assert child.get_metrics() == {"before": 1}
    assert "stop" in log_of(run, project)


def test_a_script_that_fails_itself_leaves_the_verdict_to_its_exit_code(
    experiment: Experiment, project: Path
) -> None:
    run = submit(experiment, project, "run.fail('bad data', error_code=7)")

    assert run.wait_for_completion()["status"] == "Completed"
    assert run.get_properties()["error_details"] == "7: bad data"


def test_a_script_that_cancels_itself_is_canceled(experiment: Experiment, project: Path) -> None:
    run = submit(experiment, project, "run.log('a', 1); run.cancel(); import time; time.sleep(60)")

    assert run.wait_for_completion()["status"] == "Canceled"
    assert run.get_metrics() == {"a": 1}


def test_nothing_is_lost_of_a_script_that_misbehaves(
    experiment: Experiment, project: Path
) -> None:
    run = submit(
        experiment,
        project,
        """
        import os, sys, threading
        os.chdir("/")
        sys.stdout.close()
        os.close(1)
        run.log("loss", 0)
        os.closerange(3, 1024)
        theirs = os.environ["MLTRAIN_CODE"] + "/outputs/theirs"
        opened = [os.open(theirs, os.O_CREAT | os.O_WRONLY) for _ in range(50)]

        def work(who):
            for number in range(500):
                run.log("loss", float(number)); run.tag(who, number)

        child = os.fork()
        who = "parent" if child else "child"
        threads = [threading.Thread(target=work, args=(f"{who}{n}",)) for n in range(3)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        if not child:
            os.kill(os.getpid(), 9)
        os.waitpid(child, 0)
        run.upload_file("a.txt", "/proc/self/cmdline")
        os.kill(os.getpid(), 9)
        """,
    )
    run.wait_for_completion(raise_on_error=False)

    losses = run.get_metrics("loss")["loss"]

    assert run.get_status() is RunStatus.FAILED
    assert sorted(losses) == sorted([0, *[float(n) for n in range(500)] * 6])
    assert run.get_tags() == {f"{who}{n}": "499" for who in ("parent", "child") for n in range(3)}
    assert run.get_file_names() == ["log", "outputs/a.txt", "outputs/theirs"]
    run.download_file("outputs/theirs", project / "theirs")
    assert (project / "theirs").read_bytes() == b""


def test_odd_values_arrive_as_they_are(experiment: Experiment, project: Path) -> None:
    run = submit(
        experiment,
        project,
        r"""
        for value in (float("nan"), float("inf"), -float("inf"), 1e308, 10**300, "text", "", True,
                      None, [1, "a"], {"x": 1}, "\\ud83d\\0"):
            run.log("mixed", value)
        for number in range(10_000):
            run.log(f"name \\n {number}", number)
        for bad in (object(), "x" * 10**6, 2**100_000):
            try:
                run.log("bad", bad)
            except (TypeError, ValueError) as error:
                print(type(error).__name__)
        """,
    )
    run.wait_for_completion()

    metrics = run.get_metrics()

    mixed = metrics.pop("mixed")
    assert math.isnan(mixed.pop(0))
    assert mixed[:-1] == [
        *(math.inf, -math.inf, 1e308, 10**300, "text", "", True, None, [1, "a"], {"x": 1})
    ]
    assert len(metrics) == 10_000
    assert metrics["name \\n 9999"] == 9999
    assert log_of(run, project) == "TypeError\nValueError\nValueError\n"
