"""The container on an engine in which the job agent answers for all runs of a target."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from typing import Final

from docker.errors import APIError, NotFound

from airflow_mltrain.targets.agent_entry import NoEntryError, NoPythonError, enter
from airflow_mltrain.targets.agent_session import AgentSession
from airflow_mltrain.targets.docker.config import DockerTargetConfig
from airflow_mltrain.targets.docker.container_description import (
    ROOT,
    VOLUME_LABEL,
    volume_mount,
)
from airflow_mltrain.targets.docker.engine import Engine
from airflow_mltrain.targets.docker.failure import words_of
from airflow_mltrain.targets.docker.stream import EngineStream, open_stream

_AGENT_LABEL: Final = "mltrain.agent"
_REPOSITORY: Final = "mltrain-agent"
_CONFLICT: Final = 409
_NOT_RUNNING: Final = "is not running"
_ATTEMPTS: Final = 5
# Ends ten minutes after the last agent in it did: three processes are tini, this shell, its sleep.
_IDLE: Final = (
    "i=0; while [ $i -lt 10 ]; do set -- /proc/[0-9]*; "
    "if [ $# -gt 2 ]; then i=0; else i=$((i+1)); fi; sleep 60; done"
)

_IDLE_PROCESSES: Final = 3

_known_images: Final[dict[str, str]] = {}  # by engine; whichever target of it learnt of one
_unfit: Final[set[tuple[str, str | None]]] = set()  # images, and the Python they do not have


class AgentContainer:
    """Begins job agents on an engine, each in a process of one container that has the volume.

    What the container is made of does not matter, as long as there is a Python in it, where the
    target says. It has no network, and ends when nobody asks any more.
    """

    def __init__(self, engine: Engine, config: DockerTargetConfig) -> None:
        self._engine = engine
        self._config = config
        self._variant = _variant(config)
        self._name = f"mltrain-agent-{self._variant}"
        self._made_of: str | None = None

    def learn(self, image_id: str) -> None:
        """Take note of an image that the engine has, for when the container has to be made."""
        _known_images[self._engine.identity] = image_id

    def enter(self) -> AgentSession:
        """A session with a new job agent; raises NoEntryError, TargetUnreachableError."""
        machine = f"compute target {self._engine.name!r} ({self._engine.describe()})"
        folder = f"{ROOT}/bytecode/agent"
        while True:
            try:
                session = enter(self._open_stream, ROOT, self._config.python, machine, folder)
            except NoEntryError as error:
                is_unfit = isinstance(error, NoPythonError) or self._ended_at_once()
                if not is_unfit or not self._give_up_image():
                    raise
            else:
                self._keep_image()
                return session

    def _give_up_image(self) -> bool:
        """Remove the container, whose image is of no use; False if no other image may be."""
        found = self._engine.find_container(self._name)
        image = str(found["Image"]) if found else self._made_of
        if image is None or self._has_agents():
            return False
        self._engine.remove_container(self._name)
        if set(self._find_images()) <= {image}:  # it may have been for another reason
            return False
        _unfit.add((image, self._config.python))
        return True

    def _ended_at_once(self) -> bool:
        """Whether the container that this made does not run."""
        if self._made_of is None:
            return False
        found = self._engine.find_container(self._name)
        return found is None or not found["State"]["Running"]

    def _has_agents(self) -> bool:
        """Whether somebody else found a Python in the container."""
        with self._engine.asking() as client:
            try:
                processes = client.top(self._name)["Processes"] or ()  # None while it ends
                return len(processes) > _IDLE_PROCESSES
            except APIError:  # it does not run
                return False

    def _keep_image(self) -> None:
        """Have the image of a container that this made kept for when there is none any more."""
        if self._made_of is None:
            return
        with self._engine.asking() as client, suppress(APIError):
            client.tag(self._made_of, _REPOSITORY, self._variant)
        self._made_of = None

    def _open_stream(self, command_line: str) -> EngineStream:
        words = ""
        for attempt in range(_ATTEMPTS):
            with self._engine.asking() as client:
                try:
                    made = client.exec_create(
                        self._name, ["/bin/sh", "-c", command_line], stdin=True, user="0:0"
                    )
                    return open_stream(client.exec_start(made["Id"], socket=True))
                except NotFound as error:
                    words = words_of(error)
                except APIError as error:
                    words = words_of(error)
                    has_ended = error.status_code == _CONFLICT or _NOT_RUNNING in words
                    if not has_ended:
                        raise NoEntryError(
                            f"compute target {self._engine.name!r}: {words}"
                        ) from error
            self._begin(may_be_refused=attempt == 0)
        raise NoPythonError(
            f"compute target {self._engine.name!r}: container {self._name!r} on "
            f"{self._engine.describe()} ends at once: {words}; use an image with /bin/sh and "
            "Python 3.8 or newer"
        )

    def _begin(self, *, may_be_refused: bool) -> None:
        """Have the container run; several may try at once.

        An engine that died in the middle of a start cannot start that container again; it can
        another one, which is for the next attempt to make.
        """
        found = self._engine.find_container(self._name)
        if found is not None and not found["State"]["Running"]:
            if found["State"]["Status"] != "created":
                self._engine.remove_container(self._name)
            found = None
        if found is None:
            self._create()
        with self._engine.asking() as client:
            try:
                client.start(self._name)
            except NotFound:
                return  # somebody removed it: the next attempt makes it
            except APIError as error:
                if error.status_code == _CONFLICT:
                    return
                words = words_of(error)
                found = self._engine.find_container(self._name)
                if found is not None:  # another's may be there, and run
                    self._engine.remove_container(found["Id"], is_forced=False)
                if may_be_refused:
                    return
                fault = NoPythonError if "/bin/sh" in words else NoEntryError
                raise fault(
                    f"compute target {self._engine.name!r}: the job agent's container cannot "
                    f"start: {words}; use an image with /bin/sh and Python 3.8 or newer"
                ) from error

    def _create(self) -> None:
        image = self._find_image()
        content = {
            "Image": image,
            "Entrypoint": ["/bin/sh", "-c", _IDLE],
            "Cmd": [],
            "User": "0:0",
            "WorkingDir": "/",
            "Healthcheck": {"Test": ["NONE"]},
            "Labels": {_AGENT_LABEL: self._config.volume},
            "HostConfig": {
                "Init": True,
                "AutoRemove": True,
                "NetworkMode": "none",
                "SecurityOpt": ["no-new-privileges"],
                "Mounts": [volume_mount(self._config)],
            },
        }
        with self._engine.asking() as client:
            try:
                client.create_container_from_config(content, self._name)
                self._made_of = image
            except APIError as error:
                if error.status_code != _CONFLICT:
                    raise NoEntryError(
                        f"compute target {self._engine.name!r}: the job agent's container cannot "
                        f"be made: {words_of(error)}"
                    ) from error

    def has_image(self) -> bool:
        """Whether the container is there, or there is an image to make it of."""
        is_there = self._engine.find_container(self._name) is not None
        return is_there or any(True for _ in self._find_images())

    def _find_image(self) -> str:
        for image in self._find_images():
            return image
        raise NoEntryError(
            f"compute target {self._engine.name!r}: no image on {self._engine.describe()} "
            "is known to have a Python; submit a run, or name an image as `image` under "
            "`mltrain` in the connection's extra and pull it there"
        )

    def _find_images(self) -> Iterator[str]:
        """Images that may have a Python, by id: those that this process or the engine knows."""
        names = [
            _known_images.get(self._engine.identity),
            self._config.image,
            f"{_REPOSITORY}:{self._variant}",
        ]
        for name in filter(None, names):
            found = self._engine.find_image(name)
            if found is not None and self._is_fit(found["Id"]):
                yield str(found["Id"])
        with self._engine.asking() as client:
            label = f"{VOLUME_LABEL}={self._config.volume}"
            containers = client.containers(all=True, filters={"label": label})
        for image in dict.fromkeys(str(container["ImageID"]) for container in containers):
            if self._is_fit(image):
                yield image

    def _is_fit(self, image: str) -> bool:
        return (image, self._config.python) not in _unfit


def _variant(config: DockerTargetConfig) -> str:
    """Tells apart the containers of a volume: no image may have all Pythons that targets name."""
    if config.python is None:
        return config.volume
    return f"{config.volume}-{sha256(config.python.encode()).hexdigest()[:8]}"
