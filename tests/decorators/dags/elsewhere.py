"""A Dag whose functions are training runs on other machines; as a program it runs once."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, task
from curves.fit import fit  # type: ignore[import-not-found]  # beside this file

TARGET = os.environ["TARGET"]


@task.train(compute_target=TARGET)
def fail(depth: int) -> None:
    """As a script that fails, below a function of its own."""

    def dig() -> None:
        raise ValueError(f"too deep: {depth}")

    dig()


@task
def note(value: Any) -> None:
    """Leave what was returned where the test finds it."""
    Path(os.environ["NOTE"]).write_text(json.dumps(value))


with DAG("elsewhere", schedule=None) as dag:
    note(task.train(compute_target=TARGET)(fit)(0.5, epochs=2))
    fail(7)

if __name__ == "__main__":
    ended = dag.test()
    attempts = {one.task_id: [one.state, one.try_number] for one in ended.get_task_instances()}
    Path(sys.argv[1]).write_text(json.dumps(attempts))
