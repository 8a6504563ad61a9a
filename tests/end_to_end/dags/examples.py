"""The example Dags that Airflow is to find here too."""

from __future__ import annotations

import runpy
from pathlib import Path

_EXAMPLES = Path(__file__).parents[3] / "dags"

for _name in (
    "retrain_on_ssh.py",
    "retrain_in_docker.py",
    "retrain_on_spark.py",
    "reconcile_training_runs.py",
):
    _found = runpy.run_path(str(_EXAMPLES / _name))
    globals().update({f"{_name}:{name}": one for name, one in _found.items()})
