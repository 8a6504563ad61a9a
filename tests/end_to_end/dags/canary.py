"""A Dag for each compute target, whose run gets a secret in every way there is."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import DAG

from airflow_mltrain import ScriptRunConfig, SecretReference
from airflow_mltrain.operators.submit_training_run import SubmitTrainingRunOperator

SCRIPTS = Path(__file__).parents[1] / "scripts"
INDEX = "http://ada:${CANARY_INDEX}@127.0.0.1:9/packages/"  # nothing is installed from it

for _kind in ("local", "ssh", "key_file", "docker", "spark"):
    _config = ScriptRunConfig(SCRIPTS, "canary.py", ["{{ params.decoy }}"])
    _config.run_config.target = "local" if _kind == "local" else f"canary_{_kind}"
    _config.run_config.environment_variables = {
        "CANARY_CONNECTION": SecretReference(connection="canary", field="{{ params.field }}"),
        "CANARY_VARIABLE": SecretReference(variable="canary"),
        "DECOY": "{{ params.decoy }}",
    }
    if _kind in ("local", "ssh"):
        _config.environment = {  # type: ignore[assignment] # a mapping is taken too
            "name": "canary",
            "python": {"index": {"extra_urls": [INDEX]}},
        }
    if _kind == "spark":
        _config.run_config.spark.configuration = {
            "spark.hadoop.canary.password": "${CANARY_SPARK}"
        }
    with DAG(f"canary_{_kind}", params={"decoy": "", "field": "password"}, schedule=None) as _dag:
        SubmitTrainingRunOperator(
            task_id="train", experiment="canary", config=_config, wait_for_completion=True
        )
    globals()[_dag.dag_id] = _dag
