"""Environments as images: what was built once on a volume, for other engines to pull."""

from __future__ import annotations

import json
import logging
from hashlib import sha256
from typing import Final

from docker.errors import APIError

from airflow_mltrain.runtime.job_agent.environment import ENVIRONMENTS_IN_IMAGE
from airflow_mltrain.targets.agent_entry import job_agent, python_candidates, python_command
from airflow_mltrain.targets.base import EnvironmentRequest
from airflow_mltrain.targets.docker.config import DockerTargetConfig
from airflow_mltrain.targets.docker.container_description import ROOT, volume_mount
from airflow_mltrain.targets.docker.engine import Engine
from airflow_mltrain.targets.docker.failure import words_of
from airflow_mltrain.targets.docker.image import Image, Images
from airflow_mltrain.targets.docker.preparation import QUIET

log = logging.getLogger(__name__)

_REPOSITORY: Final = "mltrain-env"
_KEY_LABEL: Final = "mltrain.environment_key"
_BASE_LABEL: Final = "mltrain.environment_base"
_FORMAT: Final = 1
_COPY_SECONDS: Final = 600
_CONFLICT: Final = 409
_LAY_IN: Final = """
import sys
sys.path.insert(0, {agent!r})
from job_agent.environment.image import lay_in
lay_in({root!r}, {run_id!r}, {folder!r})
"""


class EnvironmentImages:
    """Images of a base with an environment in it, by what they were made of; for a registry.

    Without one there are none: what lies on the volume serves all runs of an engine.
    """

    def __init__(self, engine: Engine, config: DockerTargetConfig, images: Images) -> None:
        self._engine = engine
        self._config = config
        self._images = images

    def find(self, base: Image, request: EnvironmentRequest | None) -> Image | None:
        """The image for a job that runs on that base, if the engine or the registry has one."""
        if request is None or self._config.registry is None:
            return None
        key = _key_of(base, request)
        tag = f"{_REPOSITORY}:{key}"
        found = self._images.find(tag)
        if found is None and self._images.pull(self._shared(key), QUIET) is None:
            self._images.tag(self._shared(key), tag)
            found = self._images.find(tag)
        return found

    def labels(self, base: Image, request: EnvironmentRequest | None) -> dict[str, str]:
        """What the container of a run says of an image that can be made when it has ended."""
        if request is None or self._config.registry is None:
            return {}
        return {_KEY_LABEL: _key_of(base, request), _BASE_LABEL: base.id}

    def publish(self, run_id: str) -> None:
        """Make an image of the environment that an ended run used, and push it.

        Nothing if there is one, or somebody is at it; what fails is logged, for a run has its end.
        """
        found = self._engine.find_container(run_id)
        told = {} if found is None else found["Config"]["Labels"] or {}
        key, base = told.get(_KEY_LABEL), told.get(_BASE_LABEL)
        if key is None or base is None or self._images.find(f"{_REPOSITORY}:{key}") is not None:
            return
        name = f"mltrain-publish-{key}"
        try:
            if self._copy(name, run_id, base):
                self._commit(name, key, base)
                self._images.push(f"{_REPOSITORY}:{key}", self._shared(key), QUIET)
        except APIError as error:
            log.warning("environment image %s was not made: %s", key, words_of(error))
        finally:
            self._engine.remove_container(name)

    def _copy(self, name: str, run_id: str, base: str) -> bool:
        """Have a container of the base copy the environment into itself; whether it did."""
        program = _LAY_IN.format(
            agent=f"{ROOT}/agent/{job_agent().digest}",
            root=ROOT,
            run_id=run_id,
            folder=ENVIRONMENTS_IN_IMAGE,
        )
        content = {
            "Image": base,
            "Entrypoint": python_command(python_candidates(self._config.python), program),
            "Cmd": [],
            "User": "0:0",
            "WorkingDir": "/",
            "HostConfig": {"NetworkMode": "none", "Mounts": [volume_mount(self._config)]},
        }
        with self._engine.asking() as client:
            try:
                client.create_container_from_config(content, name)
            except APIError as error:
                if error.status_code == _CONFLICT:  # somebody else is at it
                    return False
                raise
            client.start(name)
            code = client.wait(name, timeout=_COPY_SECONDS)["StatusCode"]
            if code != 0:
                said = bytes(client.logs(name, tail=5)).decode(errors="replace").strip()
                log.warning("the environment of run %s was not made an image: %s", run_id, said)
            return bool(code == 0)

    def _commit(self, name: str, key: str, base: str) -> None:
        own = (self._engine.find_image(base) or {}).get("Config") or {}
        changes = [
            f"ENTRYPOINT {json.dumps(own.get('Entrypoint') or [])}",
            f"CMD {json.dumps(own.get('Cmd') or [])}",
            f"WORKDIR {own.get('WorkingDir') or '/'}",
            f"USER {own.get('User') or '0'}",
            f"LABEL {_KEY_LABEL}={key}",
        ]
        with self._engine.asking() as client:
            client.commit(name, repository=_REPOSITORY, tag=key, changes=changes)

    def _shared(self, key: str) -> str:
        return f"{self._config.registry}:env-{key}"


def _key_of(base: Image, request: EnvironmentRequest) -> str:
    content = {"format": _FORMAT, "base": base.id, "recipe": request.recipe_id}
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
