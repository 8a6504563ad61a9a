"""A machine reached from elsewhere as a compute target: each verb asks its job agent."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_mltrain.errors import JobStartError, TargetError, TargetUnreachableError
from airflow_mltrain.runtime.job_agent.received_tree import ImpossibleTreeError, ReceivedTree
from airflow_mltrain.runtime.job_agent.shipment import in_parts
from airflow_mltrain.targets import blob_stream
from airflow_mltrain.targets.agent_entry import NoEntryError
from airflow_mltrain.targets.agent_session import AgentFaultError, AgentSession, SessionLostError
from airflow_mltrain.targets.base import (
    BuiltEnvironment,
    Job,
    JobState,
    ListedJob,
    Preparation,
    Removed,
    Seen,
)
from airflow_mltrain.targets.bundled_uv import BundledUv, find_bundled_uv
from airflow_mltrain.targets.machine import (
    built_environment,
    by_this_clock,
    job_state,
    known_of,
    listed_job,
    removed,
    secrets_of,
    spec_of,
)
from airflow_mltrain.targets.session_keeper import SessionKeeper

if TYPE_CHECKING:
    from airflow_mltrain.targets.finding import Finding

_TRANSFER_PATIENCE_SECONDS, _TRANSFER_LOOK_SECONDS = 60.0, 1.0

_Result = TypeVar("_Result")


class MachineSettings:
    """How jobs run on a machine; `gpus` as `spec_of` takes them."""

    def __init__(
        self,
        *,
        python: str | None = None,
        max_concurrent_runs: int | None = None,
        environments_max_bytes: int | None = None,
        gpus: Mapping[str, str] | None = None,
        environment_variables: Mapping[str, str] | None = None,
    ) -> None:
        self.python = python
        self.max_concurrent_runs = max_concurrent_runs
        self.environments_max_bytes = environments_max_bytes
        self.gpus = gpus
        self.environment_variables = environment_variables or {}


class RemoteMachine:
    """Runs jobs on a machine through the job agent there, over the session of its keeper.

    A broken session is opened anew, once, and what was asked is asked again: every verb may be
    repeated. Transfers go on where they were cut, as long as that brings them forward.
    """

    def __init__(
        self, name: str, keeper: SessionKeeper, settings: MachineSettings, *, label: str
    ) -> None:
        self.name = name
        self._keeper = keeper
        self._settings = settings
        self._label = label

    @property
    def place(self) -> str:
        return self._asked(lambda session: session.hello.place)

    @property
    def interpreter(self) -> str:
        if self._settings.python is None:
            return "python"
        return self._asked(lambda session: session.hello.python)  # which is where it was found

    @property
    def runs_images(self) -> bool:
        return False

    @property
    def runs_spark(self) -> bool:
        return False

    def prepare(self, job: Job, preparation: Preparation) -> Mapping[str, str]:  # noqa: ARG002
        return {}  # a machine prepares within the job

    def missing(self, digests: Iterable[str]) -> set[str]:
        wanted = list(digests)
        return self._asked(lambda session: blob_stream.ask_missing(session, wanted))

    def missing_of_snapshot(self, snapshot_id: str) -> set[str] | None:
        def ask(session: AgentSession) -> set[str] | None:
            is_known, body = session.ask_for_body("missing_of_snapshot", snapshot_id=snapshot_id)
            return blob_stream.read_digests(body) if is_known else None

        return self._asked(ask)

    def upload(self, blobs: Mapping[str, Path]) -> None:
        if not blobs:
            return
        transfer = blob_stream.BlobTransfer(blobs)
        self._asked(transfer.send, progress=lambda: transfer.progress)

    def start(self, job: Job) -> bool:
        settings = self._settings
        spec = spec_of(
            job,
            max_concurrent_runs=settings.max_concurrent_runs,
            environments_max_bytes=settings.environments_max_bytes,
            gpus=settings.gpus,
        )
        if job.environment is not None:
            self._bring_uv(spec["environment"])
        is_started = self._ask(
            "start",
            spec=spec,
            variables=dict(settings.environment_variables),
            secrets=secrets_of(job),
        )
        return bool(is_started)

    def observe(self, seen: Mapping[str, Seen], wait_seconds: float) -> dict[str, JobState]:
        return self._asked(lambda session: self._observe(session, seen, wait_seconds))

    def cancel(self, run_id: str) -> None:
        self._ask("cancel", run_id=run_id)

    def fetch(self, run_id: str, destination: Path) -> tuple[str, ...]:
        tree = ReceivedTree(destination)

        def take(session: AgentSession) -> tuple[str, ...]:
            have = in_parts(json.dumps(tree.have).encode())
            with session.asking("fetch", have, run_id=run_id) as question:
                tree.take(question.parts())
                return tuple(question.result)

        try:
            left_behind = self._asked(take, progress=lambda: sum(tree.have.values()))
        except ImpossibleTreeError as error:
            raise TargetError(f"compute target {self.name!r} ({self._label}): {error}") from error
        tree.finish()
        return left_behind

    def discard(self, run_id: str) -> None:
        self._ask("discard", run_id=run_id)

    def list_jobs(self) -> list[ListedJob]:
        def ask(session: AgentSession) -> list[ListedJob]:
            skew = session.hello.clock_skew_seconds
            return [listed_job(one, skew) for one in session.ask("list_jobs")]

        return self._asked(ask)

    def collect_blobs(self, least_age_seconds: float, *, is_dry_run: bool = False) -> Removed:
        return removed(
            self._ask("collect_blobs", least_age_seconds=least_age_seconds, is_dry_run=is_dry_run)
        )

    def list_environments(self) -> list[BuiltEnvironment]:
        return [built_environment(one) for one in self._ask("list_environments")]

    def collect_environments(
        self, max_bytes: int | None, *, is_dry_run: bool = False
    ) -> list[BuiltEnvironment]:
        found = self._ask("collect_environments", max_bytes=max_bytes, is_dry_run=is_dry_run)
        return [built_environment(one) for one in found if one["key"]]

    def check(self) -> tuple[Finding, ...]:
        def examine(session: AgentSession) -> tuple[Finding, ...]:
            facts = session.ask("examine", variables=dict(self._settings.environment_variables))
            return self._judge(facts, session.hello.clock_skew_seconds)

        return self._asked(examine)

    def examine_spark(self, **asked: Any) -> dict[str, Any]:
        """What drivers find on the machine, as the job agent's `examine_spark` says."""
        return dict(self._ask("examine_spark", **asked))

    def _judge(self, facts: Mapping[str, Any], clock_skew_seconds: float) -> tuple[Finding, ...]:
        """What the facts of the agent's surroundings mean for jobs."""
        from airflow_mltrain.targets.check import judge  # noqa: PLC0415 - no run needs it

        return judge(facts, clock_skew_seconds=clock_skew_seconds)

    def _observe(
        self, session: AgentSession, seen: Mapping[str, Seen], wait_seconds: float
    ) -> dict[str, JobState]:
        view = session.take_view()
        changed = {run_id: one for run_id, one in seen.items() if view.sent.get(run_id) != one}
        dropped = [run_id for run_id in view.sent if run_id not in seen]
        result, body = session.ask_for_body(
            "observe",
            view=view.number,
            changed={run_id: known_of(one) for run_id, one in changed.items()},
            dropped=dropped,
            wait_seconds=wait_seconds,
        )
        view.sent = dict(seen)
        session.leave_view(view)  # not after an error: what the agent knows then is uncertain
        try:
            return self._read_answer(result, body, seen, session.hello.clock_skew_seconds)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise TargetError(
                f"compute target {self.name!r} ({self._label}) answered what cannot be: {error!r}"
            ) from error

    def _read_answer(
        self, result: Any, body: bytes, seen: Mapping[str, Seen], clock_skew_seconds: float
    ) -> dict[str, JobState]:
        unknown = set(result["unknown"])
        states = {
            run_id: JobState(one.status) for run_id, one in seen.items() if run_id not in unknown
        }
        for run_id in result["bereft"]:
            self._take_leave(run_id)
        position = 0
        for run_id, state in result["states"].items():
            log_end = position + state["log"]
            end = log_end + state["metrics"]
            told = dict(state, log=body[position:log_end], metrics=body[log_end:end])
            states[run_id] = by_this_clock(job_state(told), clock_skew_seconds)
            position = end
        return states

    def _take_leave(self, run_id: str) -> None:
        """See to the end of a job whose container is gone; a machine's jobs have none."""

    def _bring_uv(self, request: Mapping[str, Any]) -> None:
        """Give the machine this one's uv, if it has to build an environment and has none."""
        uv = find_bundled_uv()
        if uv is None or not self._asked(lambda session: _needs(session, uv, request)):
            return
        digest = uv.digest()
        if self.missing([digest]):
            self.upload({digest: uv.path})
        self._ask("keep_uv", digest=digest, name=uv.name)  # where it does not run, pip is used

    def _ask(self, verb: str, body: Iterable[bytes] = (), **arguments: Any) -> Any:
        parts = tuple(body)
        return self._asked(lambda session: session.ask(verb, parts, **arguments))

    def _asked(
        self,
        work: Callable[[AgentSession], _Result],
        progress: Callable[[], int] | None = None,
    ) -> _Result:
        """What `work` gives; repeated after a break, once, or while a transfer gets forward."""
        reached, is_last, patience = 0, False, 0.0
        while True:
            session = self._reach(time.monotonic() + patience)
            try:
                return work(session)
            except SessionLostError as error:
                is_forward = progress is not None and progress() > reached
                if is_last and not is_forward:
                    raise TargetUnreachableError(
                        f"compute target {self.name!r} ({self._label}) does not answer: {error}; "
                        "its runs go on, repeat when it is back"
                    ) from error
                is_last = not is_forward
                if progress is not None:
                    reached, patience = progress(), _TRANSFER_PATIENCE_SECONDS
            except AgentFaultError as error:
                raise self._error_for(error, session) from error

    def _reach(self, until: float) -> AgentSession:
        """The session; what is half done waits a little for a host that comes back."""
        while True:
            try:
                return self._keeper.session()
            except NoEntryError:
                raise
            except TargetUnreachableError:
                if time.monotonic() > until:
                    raise
                time.sleep(_TRANSFER_LOOK_SECONDS)

    def _error_for(self, fault: AgentFaultError, session: AgentSession) -> TargetError:
        where = f"compute target {self.name!r} ({self._label})"
        if fault.kind == "StartError":
            return JobStartError(f"{where} could not start the run: {fault}")
        if fault.kind == "OSError":
            return TargetUnreachableError(
                f"{where} cannot use its root folder {session.hello.root}: {fault}; its runs are "
                "as they were, repeat when that is mended"
            )
        if fault.kind == "NotEndedError":
            return TargetError(f"{where}: {fault}")
        return TargetError(f"{where}: the job agent failed:\n{fault}")


def _needs(session: AgentSession, uv: BundledUv, request: Mapping[str, Any]) -> bool:
    if session.hello.machine != os.uname().machine:
        return False
    return bool(session.ask("lacks_uv", request=dict(request), name=uv.name))
