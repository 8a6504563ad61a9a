"""An auth manager that tells Dags apart, which Airflow's simple one does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

from tests.fakes.viewer import HIDDEN_DAG_ID

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.base_auth_manager import ResourceMethod
    from airflow.api_fastapi.auth.managers.models.resource_details import (
        DagAccessEntity,
        DagDetails,
    )
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser


class DiscreetAuthManager(SimpleAuthManager):
    """Keeps the runs of one Dag from everybody but administrators."""

    def is_authorized_dag(
        self,
        *,
        method: ResourceMethod,
        user: SimpleAuthManagerUser,
        access_entity: DagAccessEntity | None = None,
        details: DagDetails | None = None,
    ) -> bool:
        """As the simple auth manager says, but for the hidden Dag."""
        is_hidden = details is not None and details.id == HIDDEN_DAG_ID
        if is_hidden and (user.role or "").lower() != "admin":
            return False
        return super().is_authorized_dag(
            method=method, user=user, access_entity=access_entity, details=details
        )
