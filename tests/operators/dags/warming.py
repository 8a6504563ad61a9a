"""A Dag that builds environments in each way a Dag author may; as a program it runs once."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, task

from airflow_mltrain import Environment
from airflow_mltrain.operators.build_environment import BuildEnvironmentOperator

_INDEX = {"url": os.environ["INDEX_URL"]}


@task
def note(returned: Any) -> None:
    """Leave what the operator returned where the test finds it."""
    Path(os.environ["NOTE"]).write_text(returned)


with DAG("warming", schedule=None, params={"package": "alpha", "name": "registered"}) as dag:
    deferred = BuildEnvironmentOperator(
        task_id="deferred",
        environment=Environment(
            "given", python={"packages": ["{{ params.package }}"], "index": _INDEX}
        ),
        prepare_timeout_seconds=60,
    )
    by_name = BuildEnvironmentOperator(
        task_id="by_name",
        environment="{{ params.name }}:1",
        compute_target="{{ 'local' }}",
        deferrable=False,
    )
    mapped = BuildEnvironmentOperator.partial(task_id="mapped", deferrable=False).expand(
        environment=["registered", {"name": "plain"}]
    )
    unknown = BuildEnvironmentOperator(
        task_id="unknown", environment="unheard-of", deferrable=False, retries=3
    )
    wrong = BuildEnvironmentOperator(
        task_id="wrong", environment={"name": "x", "python": {"packages": ["-e ."]}}, retries=3
    )
    note(deferred.output)

if __name__ == "__main__":
    ended = dag.test()
    attempts = {one.task_id: [one.state, one.try_number] for one in ended.get_task_instances()}
    Path(sys.argv[1]).write_text(json.dumps(attempts))
