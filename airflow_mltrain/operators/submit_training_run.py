"""The operator that submits a training run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowTaskTimeout,
    TaskDeferralError,
    TaskDeferralTimeout,
)

from airflow_mltrain.config.secret_text import require_no_credentials
from airflow_mltrain.config.text import is_template
from airflow_mltrain.errors import (
    ConfigurationError,
    RunCanceledError,
    RunFailedError,
    SnapshotError,
    UnreachableTimeoutError,
)
from airflow_mltrain.garbage_collection import frozen_heap, no_collections
from airflow_mltrain.links import SparkApplicationLink, TrainingRunLink
from airflow_mltrain.silence import check_unreachable_timeout
from airflow_mltrain.triggers.training_run import TrainingRunTrigger

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

    from airflow_mltrain.config.script_run import ScriptRunConfig
    from airflow_mltrain.runs.record import RunRecord
    from airflow_mltrain.workspace import Workspace


class SubmitTrainingRunOperator(BaseOperator):
    """Submits a training run, exactly once for all retries of the task, and returns its run id.

    A retry after a crash adopts the run that was started; one after the run failed starts a new
    run, and so does clearing the task. Marking the task failed cancels a run it waits for.

    Args:
        experiment: the name of the group the run belongs to (templated).
        config: what to run, a ScriptRunConfig or a mapping of its fields (templated throughout).
        wait_for_completion: whether the task ends when the run does, and as it did, instead of
            when the run was submitted. It then also leaves the XComs `status`, `metrics` and
            `outputs`, the URI of the kept outputs.
        deferrable: whether a wait gives its worker slot back when the run lasts.
        unreachable_timeout: how long a wait goes on without an answer of the compute target or the
            run history, in seconds or as a timedelta. Then the task fails with
            UnreachableTimeoutError and the run goes on. 0 for no limit, None for what `[mltrain]`
            says.
    """

    template_fields: Sequence[str] = ("experiment", "config")
    template_fields_renderers = {"config": "json"}  # noqa: RUF012 - as Airflow declares it
    operator_extra_links = (TrainingRunLink(), SparkApplicationLink())
    ui_color = "#e8f2e4"

    def __init__(
        self,
        *,
        experiment: str,
        config: ScriptRunConfig | Mapping[str, Any],
        wait_for_completion: bool = False,
        deferrable: bool = True,
        unreachable_timeout: timedelta | float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.experiment = experiment
        # Jinja renders mappings; a model it would leave as it is, without a word.
        self.config = config.model_dump(mode="json") if hasattr(config, "model_dump") else config
        for holder in (self.config, self.config.get("run_config")):
            require_no_credentials(holder.get("environment") if holder else None)
        # What was dumped has no credentials of package indexes; this has.
        self._environment = getattr(getattr(config, "run_config", None), "environment", None)
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.unreachable_timeout_seconds = check_unreachable_timeout(unreachable_timeout)
        self._is_told_to_stop = False

    def execute(self, context: Context) -> str:
        """Submit or adopt the run; wait for it if asked to."""
        with frozen_heap(), self._canceling_on_timeout(context):
            return self._execute(context)

    def _execute(self, context: Context) -> str:
        with no_collections():  # loading throws nothing away
            config = self._call_up()
            from airflow_mltrain import following, submission  # noqa: PLC0415
            from airflow_mltrain.workspace import Workspace  # noqa: PLC0415

        workspace = Workspace.from_config()
        try:
            occasion = following.occasion_of(context)
            onlooker = following.TaskOnlooker(
                workspace, following.reader_of(context), lambda: self._is_told_to_stop
            )
            record = submission.submit(
                workspace, self.experiment, config, occasion, self._environment, onlooker
            )
        except (ConfigurationError, SnapshotError) as error:
            raise AirflowFailException(str(error)) from error  # a retry would find the same
        self.log.info("run %s on compute target %s", record.run_id, record.target)
        context["ti"].xcom_push(key="training_run_id", value=record.run_id)
        if not (record.is_started or record.status.is_terminal):
            following.leave_unstarted(context, workspace, record, is_owner=True)
        if not self.wait_for_completion:
            return record.run_id
        return self._wait(context, workspace, record)

    def _call_up(self) -> ScriptRunConfig:
        """What to run; its target is called up, which takes a while, before more is loaded."""
        from airflow_mltrain.config.script_run import ScriptRunConfig  # noqa: PLC0415
        from airflow_mltrain.settings import read_settings  # noqa: PLC0415
        from airflow_mltrain.targets.registry import connect  # noqa: PLC0415

        try:
            config = ScriptRunConfig.model_validate(self.config)
            connect(config.run_config.target, read_settings())
        except ConfigurationError as error:
            raise AirflowFailException(str(error)) from error  # a retry would find the same
        return config

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> str:
        """Take up the task again when its run has ended, or the wait for it."""
        if unreachable := event.get("unreachable"):
            raise UnreachableTimeoutError(unreachable)
        from airflow_mltrain import following  # noqa: PLC0415
        from airflow_mltrain.runs.exit_action import is_preempted  # noqa: PLC0415
        from airflow_mltrain.workspace import Workspace  # noqa: PLC0415

        workspace = Workspace.from_config()
        reader = following.reader_of(context)
        record = following.follow_in_task(
            workspace,
            event["run_id"],
            reader,
            seconds=None,
            unreachable_timeout_seconds=self.unreachable_timeout_seconds,
        )
        if is_preempted(record):
            return self._wait(context, workspace, record)
        return self._complete(context, workspace, record)

    def resume_execution(
        self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context
    ) -> Any:
        """Take up the task again after its deferral, whatever ended that."""
        with self._canceling_on_timeout(context):
            return self._resume(next_method, next_kwargs, context)

    def _resume(
        self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context
    ) -> Any:
        """Answer a deferral that ended without its event: late, or by a fault in the triggerer."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except (TaskDeferralTimeout, TaskDeferralError) as error:
            from airflow_mltrain import following  # noqa: PLC0415
            from airflow_mltrain.workspace import Workspace  # noqa: PLC0415

            workspace = Workspace.from_config()
            record = workspace.history.find_latest(following.occasion_of(context).key)
            if record is None:
                raise
            if isinstance(error, TaskDeferralTimeout):
                following.cancel_from_task(workspace, record.run_id, is_killed_soon=False)
                raise
            self.log.warning("the trigger failed; run %s is followed from here", record.run_id)
            self.deferrable = False
            return self._wait(context, workspace, record)

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Render templates alone: with native objects, Jinja would take "3.10" for 3.1."""
        if isinstance(content, str) and not is_template(content):
            return content
        return super().render_template(content, context, jinja_env, seen_oids)

    def on_kill(self) -> None:
        """Note that the task was told to stop.

        Airflow calls this within a signal, where it cannot be asked why; the wait asks at once.
        """
        self._is_told_to_stop = True

    @contextmanager
    def _canceling_on_timeout(self, context: Context) -> Iterator[None]:
        """Take the run along that this attempt, or one before it, has started."""
        try:
            yield
        except AirflowTaskTimeout:  # wherever it fires: the first steps load and connect for long
            from airflow_mltrain import following  # noqa: PLC0415
            from airflow_mltrain.workspace import Workspace  # noqa: PLC0415

            workspace = Workspace.from_config()
            record = workspace.history.find_latest(following.occasion_of(context).key)
            if record is not None:
                following.cancel_from_task(workspace, record.run_id, is_killed_soon=False)
            raise

    def _wait(self, context: Context, workspace: Workspace, record: RunRecord) -> str:
        from airflow_mltrain import following  # noqa: PLC0415
        from airflow_mltrain.runs.exit_action import is_preempted  # noqa: PLC0415

        reader = following.reader_of(context)
        patience = workspace.settings.defer_after_seconds if self.deferrable else None
        while True:
            record = following.follow_in_task(
                workspace,
                record.run_id,
                reader,
                seconds=patience,
                is_interrupted=lambda: self._is_told_to_stop,
                unreachable_timeout_seconds=self.unreachable_timeout_seconds,
            )
            if record.status.is_terminal and not is_preempted(record):
                return self._complete(context, workspace, record)
            if record.status.is_terminal and not self._is_told_to_stop:
                record = self._go_on(context, workspace, record)
                continue
            if self._is_told_to_stop:
                self._is_told_to_stop = False
                if following.is_task_given_up(context, is_owner=True):
                    following.cancel_from_task(workspace, record.run_id, is_killed_soon=True)
                    raise AirflowFailException(f"run {record.run_id} was canceled with its task")
                self.log.info("this worker is to stop; run %s goes on", record.run_id)
            if self.deferrable:
                self.defer(
                    trigger=TrainingRunTrigger(
                        record.target,
                        record.run_id,
                        reader,
                        is_owner=True,
                        unreachable_timeout_seconds=self.unreachable_timeout_seconds,
                    ),
                    method_name="execute_complete",
                    timeout=self._remaining_time(context, workspace),
                )

    def _go_on(self, context: Context, workspace: Workspace, preempted: RunRecord) -> RunRecord:
        """The run that goes on from a preempted one, which costs no attempt of the task."""
        from airflow_mltrain import following  # noqa: PLC0415

        record = following.go_on_in_task(
            workspace,
            preempted,
            asking=(self._environment,),
            onlooker=following.TaskOnlooker(
                workspace, following.reader_of(context), lambda: self._is_told_to_stop
            ),
            is_interrupted=lambda: self._is_told_to_stop,
            unreachable_timeout_seconds=self.unreachable_timeout_seconds,
        )
        context["ti"].xcom_push(key="training_run_id", value=record.run_id)
        if not (record.is_started or record.status.is_terminal):
            following.leave_unstarted(context, workspace, record, is_owner=True)
        return record

    def _remaining_time(self, context: Context, workspace: Workspace) -> timedelta | None:
        if self.execution_timeout is None:
            return None
        from airflow_mltrain.following import deferral_timeout  # noqa: PLC0415

        elapsed = datetime.now(timezone.utc) - context["ti"].start_date
        return deferral_timeout(workspace, self.execution_timeout - elapsed)

    def _complete(self, context: Context, workspace: Workspace, record: RunRecord) -> str:
        from airflow_mltrain import following  # noqa: PLC0415
        from airflow_mltrain.completion import require_success  # noqa: PLC0415

        result = following.result_of(workspace, record)
        for key in ("status", "metrics", "outputs"):
            context["ti"].xcom_push(key=key, value=result[key])
        try:
            require_success(workspace, record)
        except RunCanceledError as error:
            raise AirflowFailException(str(error)) from error  # a retry would start it again
        except RunFailedError as error:
            following.end_for_good(record, error)
            raise
        self.log.info("run %s: %s, outputs in %s", record.run_id, record.status, result["outputs"])
        return record.run_id
