"""Run the retraining Dag through a real Airflow and say what happened."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from airflow_stack import AirflowStack

_CLONE = Path(__file__).resolve().parents[1]
_HOME = _CLONE / ".demo"
_DAG = "retrain_diabetes"


def main() -> None:
    """Start Airflow, trigger the Dag, wait, print, stop Airflow; exit 1 if the Dag run failed."""
    print("starting Airflow (SQLite, one machine) ...", flush=True)
    with AirflowStack(_HOME, _CLONE / "dags") as airflow:
        dag_run_id = airflow.trigger(_DAG)
        print(f"Dag run {dag_run_id} of {_DAG} ...", flush=True)
        state = airflow.wait_for_dag_run(_DAG, dag_run_id)
        run = airflow.xcom(_DAG, dag_run_id, "wait")
        kept = airflow.xcom(_DAG, dag_run_id, "keep_better")
        if state != "success" or run is None or kept is None:
            print(f"the Dag run is {state}; its logs are in {_HOME / 'logs'}")
            sys.exit(1)
    print(
        f"""
run      {run["run_id"]}
status   {run["status"]}
metrics  {", ".join(f"{name} = {value:.3f}" for name, value in run["metrics"].items())}
outputs  {run["outputs"]}
kept     {kept["run_id"]}, rmse {kept["rmse"]:.3f}
model    {kept["model"]}/model.joblib

To look around in the Airflow UI:  make ui
"""
    )


def ui() -> None:
    """Run Airflow with the demo's home until it is interrupted."""
    with AirflowStack(_HOME, _CLONE / "dags") as airflow:
        passwords = (_HOME / "passwords.json").read_text()
        print(f"{airflow.url}  users and passwords: {passwords}\nCtrl-C stops it", flush=True)
        try:
            os.waitpid(airflow.pid("api-server"), 0)
        except KeyboardInterrupt:
            print("stopping ...")


if __name__ == "__main__":
    ui() if sys.argv[1:] == ["ui"] else main()
