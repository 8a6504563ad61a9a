"""The hook from an Airflow connection to a compute target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_mltrain.errors import MLTrainError

if TYPE_CHECKING:
    from airflow_mltrain.targets.base import ComputeTarget


class ComputeTargetHook(BaseHook):
    """Gives the compute target that a connection describes.

    Args:
        compute_target_conn_id: the id of a connection of type "ML compute target", `ssh`,
            `docker` or `spark`; `local` is this machine and needs none.
    """

    conn_name_attr = "compute_target_conn_id"
    default_conn_name = "local"
    conn_type = "mltrain_compute"
    hook_name = "ML compute target"

    def __init__(self, compute_target_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.compute_target_conn_id = compute_target_conn_id

    def get_conn(self) -> ComputeTarget:
        """The compute target; raises TargetNotFoundError where no connection names one."""
        from airflow_mltrain.workspace import Workspace  # noqa: PLC0415

        return Workspace.from_config().get_target(self.compute_target_conn_id)

    def test_connection(self) -> tuple[bool, str]:
        """Whether the target can execute runs, and in words why, with what there is to mend."""
        from airflow_mltrain.targets.check import has_fault, summarize  # noqa: PLC0415

        try:
            target = self.get_conn()
            findings = target.check()
        except (MLTrainError, OSError) as error:
            return False, str(error)
        is_ready = not has_fault(findings)
        verdict = "is ready" if is_ready else "is not ready"
        return is_ready, f"compute target {target.name!r} {verdict}: {summarize(findings)}"
