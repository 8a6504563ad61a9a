"""A Docker engine as a compute target."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from airflow_mltrain.errors import JobStartError, TargetError, TargetUnreachableError
from airflow_mltrain.runtime.job_agent.shipment import in_parts
from airflow_mltrain.targets.agent_entry import NoEntryError
from airflow_mltrain.targets.agent_session import AgentSession
from airflow_mltrain.targets.base import BuiltEnvironment, Job, Preparation
from airflow_mltrain.targets.docker.agent_container import AgentContainer
from airflow_mltrain.targets.docker.config import DockerTargetConfig
from airflow_mltrain.targets.docker.container import Containers
from airflow_mltrain.targets.docker.container_description import inner_names
from airflow_mltrain.targets.docker.engine import Engine
from airflow_mltrain.targets.docker.environment_image import EnvironmentImages
from airflow_mltrain.targets.docker.image import Image, Images
from airflow_mltrain.targets.docker.order import send_order
from airflow_mltrain.targets.docker.preparation import QUIET
from airflow_mltrain.targets.docker.stream import EngineStream
from airflow_mltrain.targets.machine import secrets_of, spec_of
from airflow_mltrain.targets.remote_machine import MachineSettings, RemoteMachine
from airflow_mltrain.targets.session_keeper import keeper_of

if TYPE_CHECKING:
    from airflow_mltrain.targets.docker.registry_login import RegistryLogin
    from airflow_mltrain.targets.finding import Finding

log = logging.getLogger(__name__)

_CLAIM_LOOK_SECONDS: Final = 1.0
_CLAIM_LOOKS: Final = 60
_END_LOOK_SECONDS: Final = 0.1
_END_LOOKS: Final = 20

_Result = TypeVar("_Result")


class _Begun(NamedTuple):
    """A job's container that was begun: in which image, and the stream to send the job on."""

    image: Image
    stream: Future[EngineStream | None]
    is_on_its_engine: Future[bool]


class DockerTarget(RemoteMachine):
    """Runs each job in a container of its own, on an engine that may be anywhere.

    Everything of a run lies on one volume of the engine, where a job agent answers for all runs
    over one kept connection. A container may be removed, its run's log and outputs stay.
    """

    def __init__(
        self,
        name: str,
        config: DockerTargetConfig,
        login: RegistryLogin | None = None,
        *,
        environments_max_bytes: int | None = None,
    ) -> None:
        self._engine = Engine(name, config)
        agent = AgentContainer(self._engine, config)

        def open_session() -> AgentSession:
            session = agent.enter()
            with suppress(TargetUnreachableError):
                self._engine.ask_id()  # else with the next question
            return session

        # By name too, for what keeps a session from opening names the target.
        place = (name, self._engine.identity, config.volume, config.python)
        keeper = keeper_of(place, open_session)
        settings = MachineSettings(
            python=config.python,
            max_concurrent_runs=config.max_concurrent_runs,
            environments_max_bytes=environments_max_bytes,
            environment_variables=config.environment_variables,
        )
        super().__init__(name, keeper, settings, label=self._engine.describe())
        self._agent = agent
        self._config = config
        self._images = Images(self._engine, config, login)
        self._environments = EnvironmentImages(self._engine, config, self._images)
        self._containers = Containers(self._engine, config)
        self._begun: dict[str, _Begun] = {}
        self._remade_from = (name, config, login, environments_max_bytes)
        self._engine.call_up()  # which takes a while, in which a snapshot can be taken

    def __reduce__(self) -> tuple[object, ...]:
        return _remake, self._remade_from

    @property
    def place(self) -> str:
        return f"{self._engine.id}/{self._config.volume}"

    @property
    def interpreter(self) -> str:
        return self._config.python or "python"

    @property
    def runs_images(self) -> bool:
        return True

    @property
    def runs_spark(self) -> bool:
        return False

    def prepare(self, job: Job, preparation: Preparation) -> Mapping[str, str]:
        """As `ComputeTarget` says; the job's container begins here, and waits for the job."""
        engine_id = self._engine.id  # that the run was recorded with
        base = self._images.provide(job.image, preparation)
        self._agent.learn(base.id)
        image = self._environments.find(base, job.environment)
        labels = {} if image else self._environments.labels(base, job.environment)
        is_made = threading.Event()
        stream = _in_background(
            lambda: self._containers.begin(job, image or base, labels, is_made)
        )
        # What is known may be a minute old, and another engine answer under that address by now.
        # It takes as long to say as to make a container, so it is asked while one starts.
        is_on_its_engine = _in_background(
            lambda: is_made.wait() and self._engine.ask_id() == engine_id
        )
        self._begun[job.run_id] = _Begun(base, stream, is_on_its_engine)
        return base.facts

    def start(self, job: Job) -> bool:
        """As `ComputeTarget` says; who began the container sends the job, others lay it down."""
        if job.run_id not in self._begun:
            self.prepare(job, QUIET)
        begun = self._begun[job.run_id]
        try:
            spec = self._spec(job, begun.image)
            stream = begun.stream.result()
            self._require_engine(job.run_id, begun)
            if stream is not None and send_order(stream, job, spec):
                return True
            is_startable = self._lay_down(job, spec)
            if is_startable:
                self._await_claim(job.run_id)
            return is_startable
        finally:
            self._begun.pop(job.run_id, None)

    def _require_engine(self, run_id: str, begun: _Begun) -> None:
        if not begun.is_on_its_engine.result():
            self._containers.remove(run_id)  # which would wait there for its job in vain
            raise self._engine.unreachable(
                f"another {self._label} answers than the one that run {run_id} is for; repeat "
                "this when that one is back"
            )

    def _lay_down(self, job: Job, spec: Mapping[str, Any]) -> bool:
        if job.environment is not None:
            self._bring_uv(spec["environment"])
        log = in_parts(job.first_log)
        return bool(self._ask("lay_down", log, spec=spec, secrets=secrets_of(job)))

    def cancel(self, run_id: str) -> None:
        super().cancel(run_id)
        if self._is_claimed(run_id):
            self._containers.unpause(run_id)
        else:  # it waits for nothing
            self._containers.remove(run_id)

    def fetch(self, run_id: str, destination: Path) -> tuple[str, ...]:
        left_behind = super().fetch(run_id, destination)
        try:
            self._environments.publish(run_id)
            self._containers.release(run_id)
        except TargetUnreachableError as error:  # what matters is here
            log.warning("what is left of run %s on its engine stays there: %s", run_id, error)
            return left_behind
        with suppress(TargetError):  # without one, the next run has its code copied first
            self._ask("leave_spare", run_id=run_id)
        return left_behind

    def discard(self, run_id: str) -> None:
        super().discard(run_id)
        self._containers.remove(run_id)

    def collect_environments(
        self, max_bytes: int | None, *, is_dry_run: bool = False
    ) -> list[BuiltEnvironment]:
        if not is_dry_run:
            self._containers.sweep(self._is_claimed)
        return super().collect_environments(max_bytes, is_dry_run=is_dry_run)

    def check(self) -> tuple[Finding, ...]:
        from airflow_mltrain.targets.docker import check  # noqa: PLC0415 - no run needs it

        found = check.look_at_engine(self._engine, self._config, self._images)
        if not self._agent.has_image():
            return (*found, check.NOT_TRIED_OUT)
        try:
            return (*found, *super().check())
        except NoEntryError as error:
            return (*found, check.no_agent(error))

    def _judge(self, facts: Mapping[str, Any], clock_skew_seconds: float) -> tuple[Finding, ...]:
        from airflow_mltrain.targets.docker.check import judge_agent_container  # noqa: PLC0415

        return judge_agent_container(facts, clock_skew_seconds)

    def _asked(
        self,
        work: Callable[[AgentSession], _Result],
        progress: Callable[[], int] | None = None,
    ) -> _Result:
        try:
            return super()._asked(work, progress)
        except NoEntryError:
            for run_id in list(self._begun):
                self._require_no_fault(run_id)
            raise

    def _require_no_fault(self, run_id: str) -> None:
        """JobStartError where a container that was begun is why no job agent can be."""
        begun = self._begun.get(run_id)
        if begun is None:  # somebody else's, who is done
            return
        begun.stream.result()
        for _ in range(_END_LOOKS):
            why = self._containers.explain_no_begin(run_id)
            if why is not None:
                self._containers.remove(run_id)
                raise self._no_begin(why)
            time.sleep(_END_LOOK_SECONDS)

    def _no_begin(self, why: str) -> JobStartError:
        return JobStartError(f"compute target {self.name!r} ({self._label}): {why}")

    def _spec(self, job: Job, base: Image) -> dict[str, Any]:
        spec = spec_of(
            job,
            max_concurrent_runs=self._config.max_concurrent_runs,
            environments_max_bytes=self._settings.environments_max_bytes,
            gpus=inner_names(self._config.gpus or ()),
        )
        # In the job's own file, and not in the container's configuration, which is there to read.
        own = self._config.environment_variables or {}
        spec["environment_variables"] = {**own, **spec["environment_variables"]}
        if spec["environment"] is not None:
            spec["environment"]["image"] = base.id  # also where it lies in an image of its own
        return spec

    def _await_claim(self, run_id: str) -> None:
        for _ in range(_CLAIM_LOOKS):
            if self._is_claimed(run_id, _CLAIM_LOOK_SECONDS):
                return
            why = self._containers.explain_no_begin(run_id)
            if why is not None and not self._is_claimed(run_id):
                self._containers.remove(run_id)
                self._ask("withdraw", run_id=run_id)
                raise self._no_begin(why)
        raise self._engine.unreachable(
            f"run {run_id} did not begin within a minute; its container may yet, so repeat this"
        )

    def _is_claimed(self, run_id: str, wait_seconds: float = 0.0) -> bool:
        return bool(self._ask("await_claim", run_id=run_id, wait_seconds=wait_seconds))

    def _take_leave(self, run_id: str) -> None:
        ending = self._containers.find_ending(run_id)
        if ending is not None:
            self._ask("bury", run_id=run_id, reason=ending.reason, exit_code=ending.exit_code)


def _in_background(work: Callable[[], _Result]) -> Future[_Result]:
    """What `work` gives, or raises, when it is asked for; this process may end before."""
    done: Future[_Result] = Future()

    def settle() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 - whoever asks gets it
            done.set_exception(error)

    threading.Thread(target=settle, name="mltrain-container", daemon=True).start()
    return done


def _remake(
    name: str,
    config: DockerTargetConfig,
    login: RegistryLogin | None,
    environments_max_bytes: int | None,
) -> DockerTarget:
    """The same target in another process."""
    return DockerTarget(name, config, login, environments_max_bytes=environments_max_bytes)
