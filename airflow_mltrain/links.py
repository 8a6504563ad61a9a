"""The links from a task to its training run, and to that run's Spark application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink, conf

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class TrainingRunLink(BaseOperatorLink):
    """Opens the page of the run that a task submitted or waits for."""

    @property
    def name(self) -> str:
        """The button's text."""
        return "Training run"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The page's address; empty before the task knows its run."""
        run_id = _find_run_id(operator, ti_key)
        if not run_id:
            return ""
        base_url = conf.get("api", "base_url", fallback="/").rstrip("/")
        return f"{base_url}/mltrain/runs/{run_id}"


class SparkApplicationLink(BaseOperatorLink):
    """Opens the pages of the Spark application that a task's run is, or those of its history."""

    @property
    def name(self) -> str:
        """The button's text."""
        return "Spark application"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The pages' address; empty where the run is no Spark application that is known."""
        from airflow_mltrain.errors import MLTrainError  # noqa: PLC0415 - on the worker only
        from airflow_mltrain.runs.spark_pages import find_spark_pages  # noqa: PLC0415
        from airflow_mltrain.workspace import Workspace  # noqa: PLC0415

        run_id = _find_run_id(operator, ti_key)
        if not run_id:
            return ""
        try:
            return find_spark_pages(Workspace.from_config().history.get(run_id))
        except MLTrainError:
            return ""


def _find_run_id(operator: BaseOperator, ti_key: TaskInstanceKey) -> Any:
    from airflow.sdk.execution_time.xcom import XCom  # noqa: PLC0415 - on the worker only

    return getattr(operator, "run_id", None) or XCom.get_value(
        ti_key=ti_key, key="training_run_id"
    )
