"""Who may see a run: a person whom Airflow knows, and allows to read the runs of its Dag."""

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Request

from airflow_mltrain.runs.record import RunRecord


class AirflowViewer:
    """The person behind a request; as a dependency it answers 401 where nobody is logged in."""

    def __init__(self, request: Request, user: GetUserDep) -> None:
        self._request = request
        self._user = user

    def require_access(self, run: RunRecord) -> None:
        """Raise HTTPException 403 where the person may not read the runs of the run's Dag.

        A run that no Dag submitted is for everybody who is logged in.
        """
        if run.submission is not None:
            dag_id = run.submission.dag_id
            requires_access_dag("GET", DagAccessEntity.RUN, dag_id)(self._request, self._user)
