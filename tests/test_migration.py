"""The worked migration of the documentation is what it says, and runs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from airflow_mltrain import Experiment, Workspace
from airflow_mltrain.operators.submit_training_run import SubmitTrainingRunOperator
from tests.fakes.task_context import FakeDagRun, FakeTaskInstance

if TYPE_CHECKING:
    from airflow.sdk import DAG, Context

PAGE = (Path(__file__).parents[1] / "docs" / "coming-from-azure-ml.md").read_text()
BLOCKS = dict(re.findall(r"^```python\n# (.+?)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
PREPARE = """
import argparse, json, os
parser = argparse.ArgumentParser()
parser.add_argument("--out")
folder = parser.parse_args().out
os.makedirs(folder, exist_ok=True)
json.dump([1, 2, 3], open(os.path.join(folder, "numbers.json"), "w"))
"""


@dataclass
class PullingTaskInstance(FakeTaskInstance):
    """An attempt that reads what the tasks before it have left."""

    others: dict[str, dict[str, Any]] = field(default_factory=dict)

    def xcom_pull(self, *, task_ids: str, key: str) -> Any:
        return self.others[task_ids][key]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    (folder / "prepared").mkdir(parents=True)
    (folder / "prepared" / "numbers.json").write_text("[1, 2, 3]")
    (folder / "train.py").write_text(BLOCKS["project/train.py"])
    (folder / "prepare.py").write_text(PREPARE)
    monkeypatch.chdir(tmp_path)
    return folder


def run_block(name: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(BLOCKS[name], name, "exec"), names)  # noqa: S102 - our own documentation
    return names


def test_a_notebook_needs_other_imports_and_the_name_of_a_target() -> None:
    before, after = (BLOCKS[f"notebook, {when}"].splitlines() for when in ("before", "after"))

    changed = [line for line in zip(before, after, strict=True) if len(set(line)) > 1]

    assert all("import" in old or "target" in old for old, _ in changed)
    assert len(changed) == 3


def test_the_notebook_and_its_unmodified_script_run(project: Path) -> None:
    names = run_block("notebook, after")

    assert names["losses"] == [3.0, 1.5, 1.0]
    assert json.loads((project.parent / "model.json").read_text()) == {"alpha": 0.5}
    assert names["best"] == [names["run"].id]
    assert names["run"].tags == {"by": "notebook", "rows": "3"}


@pytest.mark.usefixtures("project")
def test_the_pipeline_runs_as_a_dag() -> None:
    names = run_block("dags/retrain_churn.py")
    dag: DAG = names["prepare"].dag

    left: dict[str, dict[str, Any]] = {}
    assert names["prepare"].downstream_task_ids == {"train"}
    for task in (names["prepare"], names["train"]):
        assert isinstance(task, SubmitTrainingRunOperator)
        ti = PullingTaskInstance(dag_id=dag.dag_id, task_id=task.task_id, others=left)
        context = cast("Context", {"ti": ti, "dag_run": FakeDagRun()})
        task.render_template_fields(context, dag.get_template_env())
        task.execute(context)
        left[task.task_id] = ti.xcoms

    train, prepare = Experiment(Workspace.from_config(), "churn").get_runs()
    assert (prepare.get_file_names(), prepare.status) == (
        ["log", "outputs/numbers.json"],
        "Completed",
    )
    assert train.get_metrics()["loss"] == [6.0, 3.0, 2.0]
    assert left["train"]["metrics"] == {"loss": [6.0, 3.0, 2.0]}
