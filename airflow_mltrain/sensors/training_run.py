"""The sensor that waits for a training run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, BaseSensorOperator, PokeReturnValue
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferralError,
    TaskDeferralTimeout,
)

from airflow_mltrain.errors import RunCanceledError, RunFailedError, UnreachableTimeoutError
from airflow_mltrain.links import SparkApplicationLink, TrainingRunLink
from airflow_mltrain.silence import UNANSWERED, check_unreachable_timeout
from airflow_mltrain.triggers.training_run import TrainingRunTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from airflow_mltrain.runs.record import RunRecord
    from airflow_mltrain.workspace import Workspace

_POKE_SECONDS = 5.0
_RESCHEDULE_SECONDS = 30.0  # that a busy scheduler may add to the time between two looks


class TrainingRunSensor(BaseSensorOperator):
    """Waits for a run, with its log in the task log; fails if the run did not complete.

    The result is a mapping of `run_id`, `status`, `metrics` and `outputs`, the URI of the kept
    outputs. The sensor's timeout ends the wait, not the run; it counts from the start of the
    task's attempt, through all deferrals and all runs in which a preempted one goes on. Marking
    the task failed cancels the run, except between two looks of the mode `reschedule`; clearing it
    does not.

    Args:
        run_id: the run (templated), usually another task's output.
        deferrable: whether the wait gives its worker slot back when the run lasts. Otherwise it
            holds the slot, or with `mode="reschedule"` comes back for it.
        poke_interval: seconds between two looks of the mode `reschedule`.
        unreachable_timeout: how long the wait goes on without an answer of the compute target or
            the run history, in seconds or as a timedelta. Then the task fails with
            UnreachableTimeoutError, or is skipped with `soft_fail` or `never_fail`, and the run
            goes on. 0 for no limit, None for what `[mltrain]` says. The mode `reschedule` knows no
            such limit, as nothing is remembered between two looks.
    """

    template_fields: Sequence[str] = ("run_id",)
    operator_extra_links = (TrainingRunLink(), SparkApplicationLink())
    ui_color = "#e8f2e4"

    def __init__(
        self,
        *,
        run_id: str | XComArg,
        deferrable: bool = True,
        poke_interval: timedelta | float = _POKE_SECONDS,
        unreachable_timeout: timedelta | float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.run_id: str = run_id  # type: ignore[assignment]  # rendered before it is read
        self.deferrable = deferrable
        self.unreachable_timeout_seconds = check_unreachable_timeout(unreachable_timeout)
        self._is_told_to_stop = False

    def execute(self, context: Context) -> Any:
        """Wait for the run."""
        if self.reschedule and not self.deferrable:
            return super().execute(context)
        with self._softened():
            return self._wait(context)

    def poke(self, context: Context) -> PokeReturnValue:
        """Look at the run once, and show what its log has new; for the mode `reschedule`."""
        from airflow_mltrain import following  # noqa: PLC0415
        from airflow_mltrain.runs.exit_action import is_preempted  # noqa: PLC0415
        from airflow_mltrain.workspace import Workspace  # noqa: PLC0415

        workspace = Workspace.from_config()
        reader = following.reader_of(context)

        def look() -> RunRecord:
            return following.follow_in_task(
                workspace,
                self.run_id,
                reader,
                seconds=0.0,
                is_interrupted=lambda: True,  # one look, and no wait for who does not answer
                unreachable_timeout_seconds=0.0,
            )

        try:
            record = look()
            while is_preempted(record):
                self.run_id = following.go_on_in_task(
                    workspace,
                    record,
                    is_interrupted=lambda: True,
                    unreachable_timeout_seconds=0.0,
                ).run_id
                record = look()
        except UNANSWERED:
            return PokeReturnValue(is_done=False)
        if not record.status.is_terminal:
            self._require_looks_within_lease(record)
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self._result(workspace, record))

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Take up the task again when the run has ended, or the wait for it."""
        if unreachable := event.get("unreachable"):
            raise UnreachableTimeoutError(unreachable)  # resume_execution softens it
        from airflow_mltrain import following  # noqa: PLC0415
        from airflow_mltrain.runs.exit_action import is_preempted  # noqa: PLC0415
        from airflow_mltrain.workspace import Workspace  # noqa: PLC0415

        workspace = Workspace.from_config()
        reader = following.reader_of(context)
        self.run_id = event["run_id"]
        record = following.follow_in_task(
            workspace,
            self.run_id,
            reader,
            seconds=None,
            unreachable_timeout_seconds=self.unreachable_timeout_seconds,
        )
        with self._softened():
            if is_preempted(record):
                return self._wait(context)
            return self._result(workspace, record)

    def resume_execution(
        self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context
    ) -> Any:
        """Answer a deferral that ended without its event: late, or by a fault in the triggerer."""
        with self._softened():
            try:
                # Not the sensors' own, which takes a fault in the triggerer for a failed wait.
                return BaseOperator.resume_execution(self, next_method, next_kwargs, context)
            except TaskDeferralTimeout as error:
                raise AirflowSensorTimeout(*error.args) from error
            except TaskDeferralError:
                self.log.warning("the trigger failed; run %s is followed from here", self.run_id)
                self.deferrable = False
                return self._wait(context)

    def on_kill(self) -> None:
        """Note that the task was told to stop; Airflow cannot be asked why from here."""
        self._is_told_to_stop = True

    def _wait(self, context: Context) -> Any:
        from airflow_mltrain import following  # noqa: PLC0415
        from airflow_mltrain.runs.exit_action import is_preempted  # noqa: PLC0415
        from airflow_mltrain.workspace import Workspace  # noqa: PLC0415

        workspace = Workspace.from_config()
        reader = following.reader_of(context)
        began = time.monotonic()
        patience = workspace.settings.defer_after_seconds if self.deferrable else self.timeout
        while True:
            until_deferral = patience - (time.monotonic() - began)
            record = following.follow_in_task(
                workspace,
                self.run_id,
                reader,
                seconds=min(until_deferral, self._remaining_seconds(context)),
                is_interrupted=lambda: self._is_told_to_stop,
                unreachable_timeout_seconds=self.unreachable_timeout_seconds,
            )
            if record.status.is_terminal and not is_preempted(record):
                return self._result(workspace, record)
            if record.status.is_terminal and not self._is_told_to_stop:
                self._go_on(context, workspace, record)
                continue
            if self._is_told_to_stop:
                self._is_told_to_stop = False
                if following.is_task_given_up(context, is_owner=False):
                    following.cancel_from_task(workspace, record.run_id, is_killed_soon=True)
                    raise AirflowFailException(f"run {record.run_id} was canceled with its task")
            remaining_seconds = self._remaining_seconds(context)
            if remaining_seconds <= 0:
                raise AirflowSensorTimeout(
                    f"run {self.run_id} is still {record.status} after {self.timeout:g} seconds; "
                    "it goes on"
                )
            if self.deferrable:
                self.defer(
                    trigger=TrainingRunTrigger(
                        record.target,
                        self.run_id,
                        reader,
                        is_owner=False,
                        unreachable_timeout_seconds=self.unreachable_timeout_seconds,
                    ),
                    method_name="execute_complete",
                    timeout=following.deferral_timeout(
                        workspace, timedelta(seconds=remaining_seconds)
                    ),
                )

    def _remaining_seconds(self, context: Context) -> float:
        """How much of the timeout is left; Airflow keeps an attempt's start through deferrals."""
        elapsed = datetime.now(timezone.utc) - context["ti"].start_date
        return self.timeout - elapsed.total_seconds()

    def _go_on(self, context: Context, workspace: Workspace, preempted: RunRecord) -> None:
        """Wait for the run that goes on from a preempted one, from here on."""
        from airflow_mltrain import following  # noqa: PLC0415

        def is_over() -> bool:
            return self._is_told_to_stop or self._remaining_seconds(context) <= 0

        record = following.go_on_in_task(
            workspace,
            preempted,
            onlooker=following.TaskOnlooker(workspace, following.reader_of(context), is_over),
            is_interrupted=is_over,
            unreachable_timeout_seconds=self.unreachable_timeout_seconds,
        )
        if not (record.is_started or record.status.is_terminal):
            if not self._is_told_to_stop and is_over():
                raise AirflowSensorTimeout(
                    f"run {preempted.run_id} was preempted, and none that goes on from it began "
                    f"within {self.timeout:g} seconds; whoever waits for it again begins one"
                )
            following.leave_unstarted(context, workspace, record, is_owner=False)
        self.run_id = record.run_id

    def _require_looks_within_lease(self, record: RunRecord) -> None:
        """Fail where the run would stop itself between two looks."""
        lease_seconds = record.config["run_config"].get("lease_seconds")
        name, longest_seconds = "poke_interval", self.poke_interval
        if self.exponential_backoff:
            name, most = "max_wait", self.max_wait  # none, or one of 0, bounds nothing
            longest_seconds = most.total_seconds() if most else self.timeout
        if lease_seconds is None or 2 * longest_seconds + _RESCHEDULE_SECONDS <= lease_seconds:
            return
        raise AirflowFailException(
            f"run {record.run_id} stops itself when nobody asks after it for lease_seconds = "
            f"{lease_seconds}, and this sensor may look too seldom: give it a {name} of at "
            f"most {(lease_seconds - _RESCHEDULE_SECONDS) / 2:.0f} seconds, as up to "
            f"{longest_seconds:.0f} may pass between two looks, or defer"
        )

    @contextmanager
    def _softened(self) -> Iterator[None]:
        try:
            yield
        except (AirflowFailException, AirflowSensorTimeout, UnreachableTimeoutError) as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(str(error)) from error
            raise

    def _result(self, workspace: Workspace, record: RunRecord) -> dict[str, Any]:
        from airflow_mltrain import following  # noqa: PLC0415
        from airflow_mltrain.completion import require_success  # noqa: PLC0415

        try:
            require_success(workspace, record)
        except (RunFailedError, RunCanceledError) as error:
            if isinstance(error, RunFailedError):
                following.end_for_good(record, error)
            raise AirflowFailException(str(error)) from error  # its fate will not change
        return following.result_of(workspace, record)
