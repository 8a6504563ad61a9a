"""The sensor that waits for a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.exceptions import AirflowFailException, TaskDeferralError

from airflow_mltrain.errors import RunCanceledError, RunFailedError
from airflow_mltrain.links import TrainingRunLink
from airflow_mltrain.triggers.training_run import TrainingRunTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from airflow_mltrain.runs.record import RunRecord
    from airflow_mltrain.workspace import Workspace

_POKE_SECONDS = 5.0


class TrainingRunSensor(BaseSensorOperator):
    """Waits for a run, with its log in the task log; fails if the run did not complete.

    The result is a mapping of `run_id`, `status`, `metrics` and `outputs`, the URI of the kept
    outputs. The sensor's timeout ends the wait, not the run; marking the task failed cancels the
    run, clearing it does not.

    Args:
        run_id: the run (templated), usually another task's output.
        deferrable: whether the wait gives its worker slot back when the run lasts; otherwise
            Airflow's sensor modes `poke` and `reschedule` apply.
        poke_interval: seconds between two looks where it is not deferrable.
    """

    template_fields: Sequence[str] = ("run_id",)
    operator_extra_links = (TrainingRunLink(),)
    ui_color = "#e8f2e4"

    def __init__(
        self,
        *,
        run_id: str | XComArg,
        deferrable: bool = True,
        poke_interval: timedelta | float = _POKE_SECONDS,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.run_id: str = run_id  # type: ignore[assignment]  # rendered before it is read
        self.deferrable = deferrable
        self._is_told_to_stop = False

    def execute(self, context: Context) -> Any:
        """Wait for the run."""
        if not self.deferrable:
            return super().execute(context)
        from airflow_mltrain import following  # noqa: PLC0415
        from airflow_mltrain.workspace import Workspace  # noqa: PLC0415

        workspace = Workspace.from_config()
        reader = following.reader_of(context)
        record = following.follow_in_task(
            workspace,
            self.run_id,
            reader,
            seconds=min(workspace.settings.defer_after_seconds, self.timeout),
            is_interrupted=lambda: self._is_told_to_stop,
        )
        if record.status.is_terminal:
            return self._result(workspace, record)
        self._cancel_if_given_up(context, workspace, record)
        return self.defer(
            trigger=TrainingRunTrigger(record.target, self.run_id, reader, is_owner=False),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )

    def poke(self, context: Context) -> PokeReturnValue:
        """Look at the run once, and show what its log has new."""
        from airflow_mltrain import following  # noqa: PLC0415
        from airflow_mltrain.workspace import Workspace  # noqa: PLC0415

        workspace = Workspace.from_config()
        record = following.follow_in_task(
            workspace, self.run_id, following.reader_of(context), seconds=0.0
        )
        if not record.status.is_terminal:
            self._cancel_if_given_up(context, workspace, record)
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self._result(workspace, record))

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Take up the task again when the run has ended."""
        from airflow_mltrain import following  # noqa: PLC0415
        from airflow_mltrain.workspace import Workspace  # noqa: PLC0415

        workspace = Workspace.from_config()
        reader = following.reader_of(context)
        record = following.follow_in_task(workspace, event["run_id"], reader, seconds=None)
        return self._result(workspace, record)

    def resume_execution(
        self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context
    ) -> Any:
        """Wait again where a fault in the triggerer, not the run, ended the deferral."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralError:
            self.log.warning("the trigger failed; run %s is followed from here", self.run_id)
            self.deferrable = False
            return self.execute(context)

    def on_kill(self) -> None:
        """Note that the task was told to stop; Airflow cannot be asked why from here."""
        self._is_told_to_stop = True

    def _cancel_if_given_up(
        self, context: Context, workspace: Workspace, record: RunRecord
    ) -> None:
        from airflow_mltrain import following  # noqa: PLC0415

        if self._is_told_to_stop and following.is_task_given_up(context, is_owner=False):
            following.cancel_from_task(workspace, record.run_id, is_killed_soon=True)
            raise AirflowFailException(f"run {record.run_id} was canceled with its task")
        self._is_told_to_stop = False

    def _result(self, workspace: Workspace, record: RunRecord) -> dict[str, Any]:
        from airflow_mltrain import following  # noqa: PLC0415
        from airflow_mltrain.run import require_success  # noqa: PLC0415

        try:
            require_success(workspace, record)
        except (RunFailedError, RunCanceledError) as error:
            raise AirflowFailException(str(error)) from error  # its fate will not change
        return following.result_of(workspace, record)
