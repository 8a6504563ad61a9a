from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_mltrain import Environment, Experiment, Run, ScriptRunConfig, Workspace
from airflow_mltrain.cli import main
from tests.contracts.history_resolution import a_resolution

_SCRIPT = """
import mltrain, sys
run = mltrain.Run.get_context()
run.log("loss", 1.0)
run.log("loss", float(sys.argv[2]))
run.log("evil\\x1b[2J", float("inf"))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "train.py").write_text(_SCRIPT)
    (folder / "data.bin").write_bytes(bytes(range(256)))
    (folder / "old\x1b[2J.txt").write_text("to be removed\n")
    return folder


def run_of(workspace: Workspace, project: Path, *arguments: str, **settings: Any) -> Run:
    config = ScriptRunConfig(project, "train.py", list(arguments), **settings)
    run = Experiment(workspace, "churn").submit(config)
    assert run.wait_for_completion()["status"] == "Completed"
    return run


@pytest.fixture
def two_runs(workspace: Workspace, project: Path) -> tuple[Run, Run]:
    """Two that differ in all that runs can differ in."""
    as_it_is = {"python": {"user_managed_dependencies": True}}
    environment = Environment("mine", **as_it_is, environment_variables={"MODE": "slow way"})
    a = run_of(workspace, project, "--rate", "0.5", "--same", "x y", environment=environment)
    workspace.history.keep_resolved(a.id, a_resolution("k1", packages=["numpy==2.2.5", "Old==1"]))
    (project / "train.py").write_text(_SCRIPT + "# better\n#\tby far\x1b[2J\n")
    (project / "data.bin").write_bytes(bytes(range(255)))
    (project / "old\x1b[2J.txt").rename(project / "new.txt")
    environment = Environment("mine", **as_it_is, environment_variables={"MODE": "fast way"})
    b = run_of(
        workspace,
        project,
        *("--rate", "0.25", "--same", "x y", "--more"),
        environment=environment,
        max_run_duration_seconds=60,
        tags={"team": "vision"},
    )
    packages = ["numpy==2.2.6 --hash=sha256:00", "torch==2.9.0"]
    workspace.history.keep_resolved(b.id, a_resolution("k2", packages=packages))
    return a, b


def test_all_that_differs_is_told(
    two_runs: tuple[Run, Run], capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    a, b = two_runs
    capsys.readouterr()

    # when
    assert main(["diff", a.id, b.id]) == 0

    # then
    text = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert text.replace("\n", "").isprintable()
    assert lines[lines.index("COMMAND") + 1 :][:3] == ["- --rate 0.5", "+ --rate 0.25", "+ --more"]
    assert "run_config.max_run_duration_seconds 2592000 60" in lines
    assert "run_config.environment.environment_variables.MODE **** ****" in lines
    assert "tags.team - vision" in lines
    assert "numpy 2.2.5 2.2.6" in lines
    assert "old 1 -" in lines
    assert "torch - 2.9.0" in lines
    assert "loss 0.5 0.25 -0.25" in lines
    assert "evil\\x1b[2J inf inf" in lines
    assert lines[lines.index("SOURCE") + 1 :] == [
        "added new.txt",
        "removed old\\x1b[2J.txt",
        "changed data.bin",
        "changed train.py",
    ]
    assert "way" not in text


def test_a_program_reads_the_same(
    two_runs: tuple[Run, Run], capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    a, b = two_runs
    capsys.readouterr()

    # when
    assert main(["diff", "--json", a.id, b.id]) == 0

    # then
    told = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert (told["a"]["run_id"], told["b"]["run_id"]) == (a.id, b.id)
    assert told["command"] == {
        "removed": [["--rate", "0.5"]],
        "added": [["--rate", "0.25"], ["--more"]],
    }
    assert {"name": "torch", "a": None, "b": "2.9.0"} in told["packages"]
    assert {"name": "loss", "a": 0.5, "b": 0.25} in told["metrics"]
    assert told["source"] == {
        "added": ["new.txt"],
        "removed": ["old\x1b[2J.txt"],
        "changed": ["data.bin", "train.py"],
    }


def test_a_patch_has_the_lines_that_differ(
    two_runs: tuple[Run, Run], capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    a, b = two_runs
    capsys.readouterr()

    # when
    assert main(["diff", "--patch", a.id, b.id]) == 0

    # then
    text = capsys.readouterr().out
    assert "\n--- a/train.py\n+++ b/train.py\n" in text
    assert "\n+# better\n+#\tby far\\x1b[2J\n" in text
    assert "\n-to be removed\n" in text
    assert "data.bin: not shown, as it is no text, or long" in text


def test_a_run_and_itself_are_the_same(
    workspace: Workspace, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    run = run_of(workspace, project, "--rate", "0.5")
    capsys.readouterr()

    # when
    assert main(["diff", run.id, run.id]) == 0

    # then
    text = capsys.readouterr().out
    assert "the same: command, settings, packages, source" in text
    assert "COMMAND" not in text


def test_a_source_that_is_not_kept_any_more_is_told(
    workspace: Workspace, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    a, b = (run_of(workspace, project, "--rate", rate) for rate in ("0.5", "0.25"))
    manifest = workspace.artifacts.blobs.path(workspace.history.get(a.id).snapshot_id)
    manifest.unlink()
    capsys.readouterr()

    # when
    assert main(["diff", a.id, b.id]) == 0

    # then
    assert "SOURCE\nnot kept any more of one of them" in capsys.readouterr().out
