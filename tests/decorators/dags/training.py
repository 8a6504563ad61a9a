"""A Dag whose functions are training runs; as a program it runs once."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, task
from curves.fit import fit  # type: ignore[import-not-found]  # beside this file

RATES = [0.5, 0.25]


@task
def choose() -> list[float]:
    """What is fitted: known when the Dag runs."""
    return RATES


@task.train(experiment="best", compute_target="{{ 'local' }}", tags={"team": "vision"})
def pick_best(fits: list[dict[str, float]], word: str, run_id: str | None = None) -> Any:
    """It travels without its file, and works elsewhere than where it began."""
    import os  # noqa: PLC0415
    import sys  # noqa: PLC0415

    os.chdir("/")
    best = min(fits, key=lambda one: one["loss"])
    return {"best": best, "word": word, "run_id": run_id, "airflow": "airflow" in sys.modules}


@task.train
def leave_outputs_alone() -> None:
    """It returns nothing."""


@task.train(retries=3)
def use_what_does_not_travel() -> list[float]:
    """Its Dag's file stays where it is."""
    return RATES


@task.train
def return_what_is_no_data() -> Any:
    """No JSON could keep it."""
    return object()


@task.train
def fail() -> None:
    """As a script that fails."""
    raise ValueError("too deep")


@task
def note(value: Any, nothing: Any) -> None:
    """Leave what was returned where the test finds it."""
    Path(os.environ["NOTE"]).write_text(json.dumps([value, nothing]))


with DAG("training", schedule=None) as dag:
    fits = task.train(max_active_tis_per_dag=1)(fit).partial(epochs=2).expand(rate=choose())
    best = pick_best(fits, "{{ 'a' }} 'b' \"c\" $d ü")  # type: ignore[arg-type]  # an XComArg
    note(best, leave_outputs_alone())
    use_what_does_not_travel()
    return_what_is_no_data()
    fail()

if __name__ == "__main__":
    ended = dag.test()
    attempts = {one.task_id: [one.state, one.try_number] for one in ended.get_task_instances()}
    Path(sys.argv[1]).write_text(json.dumps(attempts))
