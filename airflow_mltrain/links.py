"""The link from a task to its training run."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
        from airflow.sdk.execution_time.xcom import XCom  # noqa: PLC0415 - on the worker only

        run_id = getattr(operator, "run_id", None) or XCom.get_value(
            ti_key=ti_key, key="training_run_id"
        )
        if not run_id:
            return ""
        base_url = conf.get("api", "base_url", fallback="/").rstrip("/")
        return f"{base_url}/mltrain/runs/{run_id}"
