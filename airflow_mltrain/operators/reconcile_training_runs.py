"""The operator that looks after runs which nobody watches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_mltrain.errors import TargetUnreachableError
from airflow_mltrain.triggers.training_run import state_in

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_mltrain.reconciliation import Reconciliation
    from airflow_mltrain.runs.record import SubmissionKey


class ReconcileTrainingRunsOperator(BaseOperator):
    """Brings the run history to what the compute targets say, for every run that has not ended.

    Runs that have ended are finished: their log and outputs are fetched. Runs that go on though
    Airflow has marked the task that submitted them failed, or removed it, are abandoned; they are
    named in the log, and canceled if asked for. Returns counts: `unfinished`, `with_news`,
    `abandoned`, `never_started` and `unknown_jobs`, the latter being jobs on the targets that the
    run history does not know. Fails, to be retried, where a target does not answer; what the
    others said is recorded. May be repeated, also while others watch the same runs.

    Args:
        compute_targets: targets whose unknown jobs are listed too, beside those that unfinished
            runs are on (templated).
        cancel_abandoned: have abandoned runs stopped.
    """

    template_fields: Sequence[str] = ("compute_targets",)

    def __init__(
        self,
        *,
        compute_targets: Sequence[str] | str = (),
        cancel_abandoned: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.compute_targets = compute_targets
        self.cancel_abandoned = cancel_abandoned

    def execute(self, context: Context) -> dict[str, int]:
        """Ask every target, and record what it says."""
        from airflow_mltrain.reconciliation import reconcile  # noqa: PLC0415 - not while parsing
        from airflow_mltrain.workspace import Workspace  # noqa: PLC0415

        def task_state_of(key: SubmissionKey) -> str | None:
            states = context["ti"].get_task_states(
                dag_id=key.dag_id,
                task_ids=[key.task_id],
                run_ids=[key.dag_run_id],
                map_index=key.map_index,
            )
            return state_in(states, key.dag_run_id)

        found = reconcile(
            Workspace.from_config(),
            self.compute_targets,
            task_state_of=task_state_of,
            cancel_abandoned=self.cancel_abandoned,
        )
        self._tell(found)
        faults = [f"{run.after.run_id}: {run.fault}" for run in found.runs if run.fault]
        faults += [f"{name}: {why}" for name, why in found.silent_targets]
        if faults:
            raise TargetUnreachableError("not everything could be asked:\n" + "\n".join(faults))
        return {
            "unfinished": len(found.runs),
            "with_news": sum(run.before.status is not run.after.status for run in found.runs),
            "abandoned": sum(run.is_abandoned for run in found.runs),
            "never_started": sum(run.is_unstarted for run in found.runs),
            "unknown_jobs": len(found.orphans),
        }

    def _tell(self, found: Reconciliation) -> None:
        for run in found.runs:
            record = run.after
            if run.before.status is not record.status:
                self.log.info("run %s: %s -> %s", record.run_id, run.before.status, record.status)
            if run.is_abandoned:
                words = "is canceled" if run.is_cancel_requested else "goes on"
                self.log.warning(
                    "run %s %s on %s; Airflow has given up its task",
                    record.run_id,
                    words,
                    record.target,
                )
            if run.is_unstarted:
                self.log.warning("run %s was never started on %s", record.run_id, record.target)
        for orphan in found.orphans:
            self.log.warning(
                "job %s on %s (%s) is unknown to the run history; it is left alone",
                orphan.job.run_id,
                orphan.target,
                orphan.job.status,
            )
