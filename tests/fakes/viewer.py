"""Persons who ask for a page, without an Airflow that knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import HTTPException

if TYPE_CHECKING:
    from airflow_mltrain.runs.record import RunRecord


HIDDEN_DAG_ID = "payroll"


class Colleague:
    """Somebody who is logged in, and may not see the runs of one Dag."""

    def require_access(self, run: RunRecord) -> None:
        """Refuse the runs of the hidden Dag."""
        if run.submission is not None and run.submission.dag_id == HIDDEN_DAG_ID:
            raise HTTPException(403)


def refuse_stranger() -> Colleague:
    """The dependency that finds nobody logged in."""
    raise HTTPException(401)
