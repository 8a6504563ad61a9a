"""Following a run from inside an Airflow task, before or instead of deferring."""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_mltrain import progress, submission
from airflow_mltrain.cancel_intent import is_cancel_meant
from airflow_mltrain.config.exit_action import ExitAction
from airflow_mltrain.errors import (
    ConfigurationError,
    RunFailedError,
    StoreUnreachableError,
    TargetNotFoundError,
    TargetUnreachableError,
)
from airflow_mltrain.preemption import find_last
from airflow_mltrain.preparation import NOBODY, Onlooker
from airflow_mltrain.recording import Occasion
from airflow_mltrain.runs.exit_action import exit_action
from airflow_mltrain.runs.record import RunRecord, SubmissionKey
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.silence import UNANSWERED, Silence
from airflow_mltrain.targets.registry import find_connections
from airflow_mltrain.task_log import LineReader, as_messages
from airflow_mltrain.triggers.training_run import state_in
from airflow_mltrain.workspace import Workspace

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_mltrain.config.environment import Environment

_STEP_SECONDS = 0.5
_KILL_SECONDS = 3.0  # Airflow kills a task five seconds after it told it to stop
_MOST_METRIC_VALUES = 10_000
_left_processes: list[subprocess.Popen[bytes]] = []  # Python minds one forgotten while it runs
_SEE_IT_END = (
    "import sys; from airflow_mltrain import Run, Workspace; "
    "Run.get(Workspace.from_config(), sys.argv[1]).wait_for_completion(raise_on_error=False)"
)

log = logging.getLogger(__name__)


def occasion_of(context: Context) -> Occasion:
    """The logical submission a task instance stands for.

    Its token stays the same through retries and changes when the task is cleared (Airflow raises
    `max_tries` then) or the whole Dag run starts anew.
    """
    ti = context["ti"]
    map_index = -1 if ti.map_index is None else ti.map_index
    key = SubmissionKey(ti.dag_id, ti.run_id, ti.task_id, map_index)
    dag_run_start = getattr(context["dag_run"], "start_date", None)
    return Occasion(key, f"{dag_run_start}/{ti.max_tries}")


def reader_of(context: Context) -> str:
    """Names one attempt's task log: it has the whole training log, every byte once."""
    ti = context["ti"]
    return "/".join(
        str(part) for part in (ti.dag_id, ti.run_id, ti.task_id, ti.map_index, ti.try_number)
    )


class TaskOnlooker(Onlooker):
    """Shows a run's preparation in the task log, to be interrupted when the task is."""

    def __init__(
        self, workspace: Workspace, reader: str, is_interrupted: Callable[[], bool]
    ) -> None:
        self._workspace = workspace
        self._reader = reader
        self._is_interrupted = is_interrupted
        self._lines = LineReader(0)

    def show(self, words: bytes) -> None:
        """As `Onlooker` says."""
        for message in as_messages(self._lines.feed(words)):
            log.info("%s", message)

    def is_interrupted(self) -> bool:
        """As `Onlooker` says."""
        return self._is_interrupted()

    def note_shown(self, run_id: str, count: int) -> None:
        """As `Onlooker` says; who follows the run goes on behind it."""
        if count:
            self._workspace.history.set_log_position(run_id, self._reader, count)


def follow_in_task(
    workspace: Workspace,
    run_id: str,
    reader: str,
    *,
    seconds: float | None,
    is_interrupted: Callable[[], bool] = lambda: False,
    unreachable_timeout_seconds: float | None = None,
) -> RunRecord:
    """Follow a run for some seconds, or to its end with None, with its log in the task log.

    Returns the run as it is then; it may not have ended. A target or a history that does not
    answer is waited for, until UnreachableTimeoutError; a history that has never answered also
    beyond those seconds. Interrupted by then, it raises RunHistoryUnavailableError.
    """
    limit_seconds = workspace.settings.unreachable_limit(unreachable_timeout_seconds)
    silence = Silence(run_id, limit_seconds, log.warning)
    deadline = math.inf if seconds is None else time.monotonic() + seconds
    record: RunRecord | None = None

    def is_over() -> bool:
        if record is None or record.status.is_terminal:  # nothing to return, or a log to show
            return is_interrupted()
        return is_interrupted() or time.monotonic() >= deadline

    while True:
        try:
            record = record or workspace.history.get(run_id)
            for record in _show(workspace, run_id, reader):
                silence.end()
                if record.status.is_terminal or is_over():
                    return record
        except UNANSWERED as error:
            pause_seconds = silence.note(error, record.target if record else None)
            if _sleep(pause_seconds, is_over):
                if record is None:
                    raise
                return record


def _show(workspace: Workspace, run_id: str, reader: str) -> Iterator[RunRecord]:
    """Yield the run as it goes on; once it has ended, after the last of its log was shown."""
    history = workspace.history
    lines = LineReader(history.log_position(run_id, reader))
    following = progress.follow(
        workspace, run_id, log_position=lines.position, wait_seconds=_STEP_SECONDS
    )
    record = None
    for step in following:
        record = step.record
        for message in as_messages(lines.feed(step.log)):
            log.info("%s", message)
        if step.log:
            history.set_log_position(run_id, reader, lines.position)
        if not record.status.is_terminal:
            yield record
    for line in lines.flush():
        log.info("%s", line)
    history.set_log_position(run_id, reader, lines.position)
    yield record or history.get(run_id)


def _sleep(seconds: float, is_over: Callable[[], bool]) -> bool:
    """Sleep in short steps, and say whether the wait is over."""
    until = time.monotonic() + seconds
    while not is_over():
        if time.monotonic() >= until:
            return False
        time.sleep(_STEP_SECONDS)
    return True


def go_on_in_task(
    workspace: Workspace,
    run: RunRecord,
    *,
    asking: Iterable[Environment | str | None] = (),
    onlooker: Onlooker = NOBODY,
    is_interrupted: Callable[[], bool] = lambda: False,
    unreachable_timeout_seconds: float | None = None,
) -> RunRecord:
    """Have a preempted run go on in another one, and return that, handed to its target.

    A machine that was taken away may take a while to come back: a target or a history that does
    not answer is waited for, until UnreachableTimeoutError. Interrupted by then, it returns the
    run as it is recorded, not started, or raises what kept it from being recorded.
    """
    limit_seconds = workspace.settings.unreachable_limit(unreachable_timeout_seconds)
    silence = Silence(run.run_id, limit_seconds, log.warning)
    successor: RunRecord | None = None
    while True:
        try:
            successor = successor or submission.go_on(workspace, run)
            return submission.start(workspace, successor, asking, onlooker)
        except UNANSWERED as error:
            if _sleep(silence.note(error, run.target), is_interrupted):
                if successor is None:
                    raise
                return successor


def cancel_from_task(workspace: Workspace, run_id: str, *, is_killed_soon: bool) -> RunRecord:
    """Cancel a run whose task is given up, and see it to its end.

    A process of its own goes on watching where the target does not answer, and where Airflow is
    about to kill the task (`is_killed_soon`) while the run takes its grace period.

    Raises TargetNotFoundError or ConfigurationError where a connection that it needs is no longer
    there; whoever looks at the run once it is there again ends it.
    """
    try:
        return _cancel(workspace, run_id, is_killed_soon=is_killed_soon)
    except (TargetNotFoundError, ConfigurationError):
        run = find_last(workspace, workspace.history.get(run_id))
        if run.status is RunStatus.CANCEL_REQUESTED:
            words = "run %s is to end; once its target can be reached again: mltrain cancel %s"
            log.warning(words, run.run_id, run.run_id)
        raise


def _cancel(workspace: Workspace, run_id: str, *, is_killed_soon: bool) -> RunRecord:
    try:
        last = submission.cancel(workspace, run_id)  # in which a preempted one goes on
        record = progress.await_end(
            workspace, last.run_id, timeout_seconds=_KILL_SECONDS if is_killed_soon else None
        )
    except (TargetUnreachableError, StoreUnreachableError) as error:
        log.warning("run %s is not seen to its end yet: %s", run_id, error)
        record = find_last(workspace, workspace.history.get(run_id))
    if not record.status.is_terminal:
        _leave_to_watcher(workspace, record)
    return record


def _leave_to_watcher(workspace: Workspace, record: RunRecord) -> None:
    # Outside of a task Airflow's own database is out of reach, so what was found there goes along,
    # in the environment, which only this user can read.
    environment = {**os.environ, "AIRFLOW__MLTRAIN__DATABASE": workspace.settings.database_url}
    url = workspace.settings.artifacts_url
    of_store = None if url is None else url.conn_id
    for conn_id, connection in find_connections(record.target, of_store).items():
        environment[f"AIRFLOW_CONN_{conn_id.upper()}"] = connection
    workspace.settings.artifacts.mkdir(parents=True, exist_ok=True)
    with (workspace.settings.artifacts / "watcher.log").open("ab") as output:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", _SEE_IT_END, record.run_id],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    _left_processes.append(process)


def is_task_given_up(context: Context, *, is_owner: bool) -> bool:
    """Whether a task that was told to stop takes its run along; a deploy does not.

    Airflow is asked for the task's state. Where it does not answer, the run is kept.
    """
    ti = context["ti"]
    try:
        states = ti.get_task_states(
            dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
        )
    except Exception:  # noqa: BLE001 - whatever keeps Airflow from answering, the run is kept
        log.warning("Airflow does not say why the task was told to stop; its run goes on")
        return False
    return is_cancel_meant(state_in(states, ti.run_id), is_owner=is_owner)


def leave_unstarted(
    context: Context, workspace: Workspace, record: RunRecord, *, is_owner: bool
) -> NoReturn:
    """End a task that was told to stop while its run was prepared; a retry goes on."""
    from airflow.sdk.exceptions import AirflowFailException  # noqa: PLC0415 - as below

    if is_task_given_up(context, is_owner=is_owner):
        cancel_from_task(workspace, record.run_id, is_killed_soon=True)
        raise AirflowFailException(f"run {record.run_id} was canceled with its task")
    raise TargetUnreachableError(
        f"this worker is to stop while run {record.run_id} is prepared; a retry goes on"
    )


def end_for_good(record: RunRecord, error: RunFailedError) -> None:
    """Raise what spares a task its retries, where the exit code policy of a failed run does."""
    from airflow.sdk.exceptions import (  # noqa: PLC0415 - a trigger that is loaded needs none
        AirflowFailException,
        AirflowSkipException,
    )

    action = exit_action(record)
    if action is ExitAction.FAIL:
        raise AirflowFailException(str(error)) from error
    if action is ExitAction.SKIP:
        raise AirflowSkipException(str(error)) from error


def deferral_timeout(workspace: Workspace, remaining: timedelta) -> timedelta:
    """When a deferral is to end without its event, where so much is left of a task's time.

    A busy scheduler of Airflow 3.3 may fail a task that comes back at once, and nobody would hear.
    """
    return max(remaining, timedelta(seconds=workspace.settings.event_delay_seconds))


def result_of(workspace: Workspace, record: RunRecord) -> dict[str, Any]:
    """An ended run for XCom: `run_id`, `status`, `metrics` and `outputs`, the folder's URI.

    Metrics are as `Run.get_metrics` gives them; of very many values only the last of each name.
    """
    from airflow_mltrain.runs.series import arrange_metrics, strict_json  # noqa: PLC0415 - no start needs it

    points = workspace.history.get_metrics(record.run_id)
    if len(points) > _MOST_METRIC_VALUES:
        log.warning("%d metric values: only the last of each name goes to XCom", len(points))
        points = list({point.name: point for point in points}.values())
    return {
        "run_id": record.run_id,
        "status": str(record.status),
        "metrics": strict_json(arrange_metrics(points)),
        "outputs": workspace.artifacts.outputs_uri(record.run_id),
    }
