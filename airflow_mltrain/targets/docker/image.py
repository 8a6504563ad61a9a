"""The images that jobs run in: found on their engine, pulled, or built once."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from docker.errors import APIError

from airflow_mltrain.environments.plan import ImagePlan
from airflow_mltrain.errors import JobStartError
from airflow_mltrain.snapshots.blobs import Blobs
from airflow_mltrain.targets.base import ImageRequest, Preparation
from airflow_mltrain.targets.docker.build_context import open_context, read_dockerfile
from airflow_mltrain.targets.docker.config import DockerTargetConfig
from airflow_mltrain.targets.docker.engine import Engine
from airflow_mltrain.targets.docker.failure import words_of
from airflow_mltrain.targets.docker.preparation import Narrated

if TYPE_CHECKING:
    from airflow_mltrain.targets.docker.registry_login import RegistryLogin

BUILT_REPOSITORY: Final = "mltrain-image"
KEY_LABEL: Final = "mltrain.image_key"
_FORMAT: Final = 1  # another one builds every image anew
_KEY_CHARACTERS: Final = 32
_FROM: Final = re.compile(
    r"^[ \t]*FROM[ \t]+(?:--\S+[ \t]+)*(\S+)(?:[ \t]+AS[ \t]+(\S+))?", re.IGNORECASE | re.MULTILINE
)


class Image(NamedTuple):
    """An image that its engine has: whatever its name means later, `id` is this one."""

    id: str
    name: str
    user: str  # as its Dockerfile says; empty for root
    digests: tuple[str, ...] = ()  # by which registries know it

    @property
    def facts(self) -> dict[str, str]:
        """What the record of a run keeps of it."""
        found = {"mltrain.image": self.name, "mltrain.image_id": self.id}
        if self.digests:
            found["mltrain.image_digest"] = self.digests[0]
        return found


class Images:
    """Provides the images of one target."""

    def __init__(
        self, engine: Engine, config: DockerTargetConfig, login: RegistryLogin | None
    ) -> None:
        self._engine = engine
        self._config = config
        self._login = login

    def provide(self, request: ImageRequest | None, preparation: Preparation) -> Image:
        """The image that a job asks for, pulled or built if need be.

        JobStartError where that cannot be done; PreparationGivenUpError.
        """
        plan = None if request is None else request.plan
        if request is not None and plan is not None and (plan.dockerfile or plan.context_id):
            return self._provide_built(plan, request.blobs, preparation)
        reference = (plan and plan.reference) or self._config.image
        if reference is None:
            raise JobStartError(
                f"compute target {self._engine.name!r} has no image to run in: give "
                "environment.docker.base_image, or `image` under `mltrain` in the connection's "
                "extra"
            )
        return self._provide_named(reference, preparation)

    def find(self, reference: str) -> Image | None:
        """An image that the engine has."""
        found = self._engine.find_image(reference)
        if found is None:
            return None
        user = str((found.get("Config") or {}).get("User") or "")
        return Image(found["Id"], reference, user, tuple(found.get("RepoDigests") or ()))

    def _provide_named(self, reference: str, preparation: Preparation) -> Image:
        found = self.find(reference)
        is_fixed = "@sha256:" in reference
        if found is not None and (self._config.pull == "missing" or is_fixed):
            return found
        fault = self.pull(reference, preparation)
        pulled = self.find(reference)
        if pulled is None or fault is not None:
            raise JobStartError(
                f"image {reference!r} is not on {self._engine.describe()} and cannot be pulled: "
                f"{fault}; check its name, and whether the connection's login may read it"
            )
        return pulled

    def _provide_built(self, plan: ImagePlan, blobs: Blobs, preparation: Preparation) -> Image:
        bases = {
            base: self._provide_named(base, preparation).id
            for base in list_bases(read_dockerfile(plan, blobs))
        }
        key = _key_of(plan, bases)
        tag = f"{BUILT_REPOSITORY}:{key}"
        found = self.find(tag)
        if found is not None:
            return found
        shared = f"{self._config.registry}:{key}" if self._config.registry else None
        if shared is not None and self.pull(shared, preparation) is None:
            self.tag(shared, tag)
        else:
            self._build(plan, blobs, key, tag, preparation)
            if shared is not None:
                self.push(tag, shared, preparation)
        built = self.find(tag)
        if built is None:
            raise JobStartError(f"image {tag} was built, and is not there; submit again")
        return built

    def _build(
        self, plan: ImagePlan, blobs: Blobs, key: str, tag: str, preparation: Preparation
    ) -> None:
        preparation.say(f"[mltrain] image {tag} is being built\n".encode())
        with self._engine.asking() as client, open_context(plan, blobs) as context:
            try:
                steps = client.build(
                    fileobj=context,
                    custom_context=True,
                    dockerfile=plan.dockerfile_path,
                    tag=tag,
                    rm=True,
                    forcerm=True,
                    decode=True,
                    labels={KEY_LABEL: key},
                )
                fault = Narrated(steps, preparation).run()
            except APIError as error:
                fault = words_of(error)
        if fault is not None:
            raise JobStartError(f"preparation failed: the image could not be built: {fault}")

    def pull(self, reference: str, preparation: Preparation) -> str | None:
        """Pull an image; why it was not, or None."""
        auth = self._login and self._login.auth_for(reference)
        name, tag = split_reference(reference)
        preparation.say(f"[mltrain] image {reference} is being pulled\n".encode())
        with self._engine.asking() as client:
            try:
                steps = client.pull(name, tag=tag, stream=True, decode=True, auth_config=auth)
                return Narrated(steps, preparation).run()
            except APIError as error:
                return words_of(error)

    def push(self, tag: str, shared: str, preparation: Preparation) -> None:
        """Give the registry an image; a run goes on without that."""
        self.tag(tag, shared)
        auth = self._login and self._login.auth_for(shared)
        name, version = split_reference(shared)
        preparation.say(f"[mltrain] image {shared} is being pushed\n".encode())
        with self._engine.asking() as client:
            try:
                steps = client.push(name, tag=version, stream=True, decode=True, auth_config=auth)
                fault = Narrated(steps, preparation).run()
            except APIError as error:
                fault = words_of(error)
        if fault is not None:
            preparation.say(f"[mltrain] {shared} was not pushed: {fault}\n".encode())

    def tag(self, image: str, name: str) -> None:
        """Give an image one more name."""
        repository, tag = split_reference(name)
        with self._engine.asking() as client:
            client.tag(image, repository, tag)


def list_bases(dockerfile: str) -> list[str]:
    """The images that a Dockerfile begins with, but for those that a build argument names."""
    found: list[str] = []
    stages: set[str] = set()
    for base, stage in _FROM.findall(dockerfile):
        if base.lower() not in stages and base.lower() != "scratch" and "$" not in base:
            found.append(base)
        if stage:
            stages.add(stage.lower())
    return list(dict.fromkeys(found))


def split_reference(reference: str) -> tuple[str, str]:
    """Repository, and tag or digest; `latest` where there is none."""
    if "@" in reference:
        repository, _, digest = reference.partition("@")
        return repository, digest
    repository, colon, tag = reference.rpartition(":")
    if not colon or "/" in tag:  # the colon is of the registry's port
        return reference, "latest"
    return repository, tag


def _key_of(plan: ImagePlan, bases: Mapping[str, str]) -> str:
    content = {
        "format": _FORMAT,
        "dockerfile": plan.dockerfile,
        "context": plan.context_id,
        "dockerfile_path": plan.dockerfile_path,
        "bases": dict(bases),
    }
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:_KEY_CHARACTERS]
