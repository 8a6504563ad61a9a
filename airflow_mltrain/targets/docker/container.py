"""The container of a run: how it is made, found again, and what its end says."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from threading import Event
from typing import Any, Final, NamedTuple

from docker import APIClient
from docker.errors import APIError, NotFound

from airflow_mltrain.errors import JobStartError
from airflow_mltrain.targets.agent_entry import NO_PYTHON
from airflow_mltrain.targets.base import Job
from airflow_mltrain.targets.docker.config import DockerTargetConfig
from airflow_mltrain.targets.docker.container_description import (
    IMAGE_LABEL,
    RUN_LABEL,
    VOLUME_LABEL,
    describe_container,
)
from airflow_mltrain.targets.docker.engine import Engine
from airflow_mltrain.targets.docker.failure import words_of
from airflow_mltrain.targets.docker.image import Image
from airflow_mltrain.targets.docker.stream import EngineStream, open_stream

_CONFLICT, _NOT_FOUND = 409, 404
_KILLED = 128 + 9
_NO_SHELL: Final = "exec /bin/sh failed"  # as the engine's init says
_ATTEMPTS: Final = 50
_PAUSE_SECONDS: Final = 0.1
_EXIT_SECONDS: Final = 10
_FORGOTTEN_SECONDS: Final = 24 * 3600  # after so long nobody is about to start it
_NOTHING_TO_DO: Final = 75  # as `container.main` of the job agent exits
_REMOVED: Final = "its container was removed from outside while it ran"


class _ChangingError(Exception):
    """Somebody makes or removes the container at this moment."""


class _NotStartedError(Exception):
    """The engine did not start the container that it had made, which is gone by now."""

    def __init__(self, cause: APIError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Ending(NamedTuple):
    """How a container ended, in words, with its exit code if it has one."""

    reason: str
    exit_code: int | None


class Containers:
    """The containers of one target; each is named after its run."""

    def __init__(self, engine: Engine, config: DockerTargetConfig) -> None:
        self._engine = engine
        self._config = config

    def begin(
        self, job: Job, image: Image, labels: Mapping[str, str], is_made: Event
    ) -> EngineStream | None:
        """Have the job's container run; nothing where it does, or has.

        It waits for the job, to be sent on the stream or laid down; only who begins the container
        gets its stream. `is_made` is set when it is about to start, or this ends without one.
        JobStartError where the engine refuses it.
        """
        try:
            return self._begin(job, image, labels, is_made)
        finally:
            is_made.set()

    def _begin(
        self, job: Job, image: Image, labels: Mapping[str, str], is_made: Event
    ) -> EngineStream | None:
        is_refused = False
        for _ in range(_ATTEMPTS):
            try:
                return self._try_to_begin(job, image, labels, is_made)
            except _ChangingError:
                pass
            except _NotStartedError as error:
                # An engine that died in the middle of a start cannot start that container again;
                # it can another one.
                if is_refused:
                    raise self._refusal(error.cause) from error.cause
                is_refused = True
            time.sleep(_PAUSE_SECONDS)
        raise self._engine.unreachable(
            f"container {job.run_id!r} is neither there nor can it be made; repeat this"
        )

    def _try_to_begin(
        self, job: Job, image: Image, labels: Mapping[str, str], is_made: Event
    ) -> EngineStream | None:
        with self._engine.asking() as client:
            try:
                client.create_container_from_config(
                    describe_container(self._config, job, image, labels), job.run_id
                )
            except APIError as error:
                if error.status_code != _CONFLICT:
                    raise self._refusal(error) from error
                if not self._has_yet_to_start(client, job.run_id):
                    return None
            stream = _attach(client, job.run_id)
            is_made.set()
            try:
                client.start(job.run_id)
            except APIError as error:
                stream.close()
                found = self._engine.find_container(job.run_id)
                if found is None or found["State"]["Status"] != "created":
                    raise _ChangingError from error  # by who begins it as well
                self._engine.remove_container(found["Id"], is_forced=False)  # they may right now
                raise _NotStartedError(error) from error
            except BaseException:
                stream.close()
                raise
        return stream

    def _has_yet_to_start(self, client: APIClient, run_id: str) -> bool:
        """Whether a container that is there was made, and no more; what has ended is not begun.

        One that waited for its job in vain is removed, to be made anew.
        """
        try:
            found = client.inspect_container(run_id)
        except NotFound:
            raise _ChangingError from None
        self._require_own(run_id, found)
        state = found["State"]
        if state["Status"] == "exited" and state["ExitCode"] == _NOTHING_TO_DO:
            self._engine.remove_container(found["Id"])
            raise _ChangingError
        return bool(state["Status"] == "created")

    def find_ending(self, run_id: str) -> Ending | None:
        """Why the container does not run any more; None where it does, or is about to."""
        found = self._engine.find_container(run_id)
        if found is None:
            return Ending(_REMOVED, None)
        state = found["State"]
        if state["Status"] not in ("exited", "dead"):
            return None
        code = int(state["ExitCode"])
        if code == _NOTHING_TO_DO:  # one that a repeated start made in the place of the job's own
            return Ending(_REMOVED, None)
        if state.get("OOMKilled"):
            limit = found["HostConfig"].get("Memory") or 0
            bound = f" of {limit / (1 << 20):.0f} MiB" if limit else ""
            return Ending(f"out of memory: its container reached the limit{bound}", code)
        if code == _KILLED:
            return Ending(
                "its container was killed (SIGKILL): by somebody, or as the engine was stopped",
                code,
            )
        return Ending(f"its container ended with exit code {code}: {self._words(run_id)}", code)

    def explain_no_begin(self, run_id: str) -> str | None:
        """Why a job was not claimed that its container was begun for; None where it may be yet."""
        found = self._engine.find_container(run_id)
        if found is None:
            return "its container was removed before it began"
        state = found["State"]
        if state["Status"] not in ("exited", "dead"):
            return None
        words = self._words(run_id)
        image = found["Config"]["Labels"].get(IMAGE_LABEL)
        if NO_PYTHON in words:
            return (
                f"image {image!r} has no Python: use an image with Python 3.8 "
                "or newer, or name its Python as `python` under `mltrain` in the connection's "
                "extra"
            )
        if _NO_SHELL in words:
            return f"image {image!r} has no /bin/sh, which a run needs"
        if state.get("OOMKilled"):
            return "its container ran out of memory before the script began: allow it more"
        return f"its container ended with exit code {state['ExitCode']} at once: {words}"

    def release(self, run_id: str) -> None:
        """Remove an ended run's container, unless it is to be kept."""
        keep = self._config.keep_containers
        if keep == "never" or (keep == "on_failure" and self._ends_well(run_id)):
            self._engine.remove_container(run_id)

    def _ends_well(self, run_id: str) -> bool:
        """Whether the container exits with 0, which it is about to."""
        with self._engine.asking() as client:
            try:
                return int(client.wait(run_id, timeout=_EXIT_SECONDS)["StatusCode"]) == 0
            except NotFound:
                return False

    def remove(self, run_id: str) -> None:
        """Remove a run's container, whatever it does; a stranger's stays."""
        found = self._engine.find_container(run_id)
        if found is not None and (found["Config"]["Labels"] or {}).get(RUN_LABEL) == run_id:
            self._engine.remove_container(run_id)

    def sweep(self, has_job: Callable[[str], bool]) -> None:
        """Remove what killed submitters left: containers that got no job, and never will."""
        label = f"{VOLUME_LABEL}={self._config.volume}"
        with self._engine.asking() as client:
            waited = client.containers(
                all=True, filters={"label": label, "exited": _NOTHING_TO_DO}
            )
            made = client.containers(all=True, filters={"label": label, "status": "created"})
        forgotten = [one for one in made if time.time() - one["Created"] > _FORGOTTEN_SECONDS]
        for container in (*waited, *forgotten):
            if not has_job(container["Labels"][RUN_LABEL]):  # a script may exit with 75 as well
                self._engine.remove_container(container["Id"])

    def unpause(self, run_id: str) -> None:
        """Let a paused container hear that it is to end; nothing to any other."""
        found = self._engine.find_container(run_id)
        if found is not None and found["State"].get("Paused"):
            with self._engine.asking() as client:
                client.unpause(run_id)

    def _require_own(self, run_id: str, found: Mapping[str, Any]) -> None:
        if (found["Config"]["Labels"] or {}).get(RUN_LABEL) != run_id:
            raise JobStartError(
                f"there is a container {run_id!r} on {self._engine.describe()} that is not the "
                "run's: rename or remove it, then submit again"
            )

    def _refusal(self, error: APIError) -> JobStartError:
        words = words_of(error)
        if error.status_code == _NOT_FOUND and "network" in words.lower():
            words += "; see `network`"
        elif "/bin/sh" in words:
            words = f"the image has no /bin/sh, which a run needs ({words})"
        elif "capabilities: [[gpu]]" in words:
            words += "; the engine needs the NVIDIA container toolkit for `gpus`"
        return JobStartError(f"{self._engine.describe()} refused the container: {words}")

    def _words(self, run_id: str) -> str:
        with self._engine.asking() as client:
            try:
                said = client.logs(run_id, tail=20)
            except APIError as error:
                return words_of(error)
        return bytes(said).decode(errors="replace").strip() or "it said nothing"


def _attach(client: APIClient, run_id: str) -> EngineStream:
    """The input of a container that is about to begin, and what it says there."""
    try:
        return open_stream(
            client.attach_socket(run_id, params={"stdin": 1, "stdout": 1, "stream": 1})
        )
    except NotFound:
        raise _ChangingError from None
