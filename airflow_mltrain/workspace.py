"""A workspace: the run history and the artifact store, as the `[mltrain]` section names them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from airflow_mltrain.absent import Explaining
from airflow_mltrain.artifacts.opening import open_store
from airflow_mltrain.artifacts.store import ArtifactStore
from airflow_mltrain.config.environment import Environment, look_again
from airflow_mltrain.config.environment_reference import (
    LATEST,
    EnvironmentReference,
    check_new_label,
)
from airflow_mltrain.environments.curated import (
    CURATED_NAMES,
    RESERVED_PREFIX,
    find_curated,
    suggest_curated,
)
from airflow_mltrain.errors import ConfigurationError
from airflow_mltrain.runs.history import RunHistory, open_run_history
from airflow_mltrain.settings import Settings, read_settings
from airflow_mltrain.targets.base import ComputeTarget
from airflow_mltrain.targets.registry import connect

_RESERVED_PREFIXES: Final = (RESERVED_PREFIX, "AzureML")
_SHOWN_NAMES: Final = 20
_COORDINATES: Final = ("subscription_id", "resource_group", "workspace_name", "auth")

log = logging.getLogger(__name__)


class Workspace(Explaining):
    """Where runs are recorded and their artifacts kept; cheap to make, opened at first use.

    Without settings it is the one of `from_config`, and so it is with what names one in Azure.
    """

    def __init__(self, settings: Settings | str | None = None, *azure: Any, **azures: Any) -> None:
        if isinstance(settings, Settings):
            self.settings = settings
            return
        names = dict(zip(_COORDINATES, (settings, *azure), strict=False))
        _warn_unused("Workspace", {**names, **azures})
        self.settings = read_settings()

    @classmethod
    def from_config(
        cls,
        path: str | None = None,
        auth: Any = None,
        _logger: Any = None,
        _file_name: str | None = None,
    ) -> Workspace:
        """The workspace of `[mltrain]` in airflow.cfg.

        With nothing configured it is embedded: SQLite and a folder below `$AIRFLOW_HOME/mltrain`.
        What is given counts for nothing, as one warning says.
        """
        _warn_unused(
            "Workspace.from_config", {"path": path, "auth": auth, "_file_name": _file_name}
        )
        return cls(read_settings())

    @classmethod
    def get(
        cls,
        name: str,
        auth: Any = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        location: str | None = None,
        cloud: str = "AzureCloud",
        id: str | None = None,  # noqa: A002
    ) -> Workspace:
        """The same as `from_config`: there is one; one warning names what counts for nothing."""
        given = {"name": name, "auth": auth, "subscription_id": subscription_id}
        given |= {"resource_group": resource_group, "location": location, "id": id}
        given["cloud"] = None if cloud == "AzureCloud" else cloud
        _warn_unused("Workspace.get", given)
        return cls(read_settings())

    @cached_property
    def history(self) -> RunHistory:
        """The run history; its schema is made or brought up to date at first use."""
        return open_run_history(self.settings.database_url)

    @cached_property
    def artifacts(self) -> ArtifactStore:
        """The artifact store; one that is elsewhere is reached at first use."""
        return open_store(self.settings)

    def get_target(self, name: str) -> ComputeTarget:
        """The compute target of that name; raises TargetNotFoundError."""
        return connect(name, self.settings)

    def get_environment(
        self, name: str, version: int | str | None = None, label: str | None = None
    ) -> Environment:
        """The registered or curated environment; the newest version unless one is named.

        `name:3` names a version too, and `name@label` a label. Raises ConfigurationError saying
        what there is.
        """
        reference = EnvironmentReference.parse(name, version, label)
        found = self._find_environment(reference)
        if found is None:
            raise ConfigurationError(self._describe_unknown(reference))
        return found

    @property
    def environments(self) -> dict[str, Environment]:
        """The same as `list_environments`."""
        return self.list_environments()

    def list_environments(self) -> dict[str, Environment]:
        """Every registered environment in its newest version, and the curated ones, by name.

        One that cannot be read, of an older or a newer package, is logged and left out.
        """
        found = {name: self.get_environment(name) for name in CURATED_NAMES}
        for name, (number, content) in self.history.environments.read_latest().items():
            try:
                found[name] = _read(name, number, content)
            except ConfigurationError as error:
                log.warning("left out: %s", error)
        return dict(sorted(found.items()))

    def register_environment(self, environment: Environment) -> Environment:
        """Keep an environment under its name; returns a copy of it that has its version.

        Content that is unchanged gives the version it has. Credentials are not kept; the copy
        still has them. Raises ConfigurationError where something in it was made wrong in place.
        """
        environment = look_again(environment)
        _check_not_reserved(environment.name)
        content = _content(environment)
        number = self._find_unchanged(environment.name, content)
        if number is None:
            number = self.history.environments.register(environment.name, content)
        environment.version = str(number)
        return environment

    def label_environment(
        self, name: str, version: int | str, labels: Sequence[str] | str
    ) -> None:
        """Let each label mean this version from now on, and no other version of that name.

        Repeating it changes nothing. Raises ConfigurationError where there is no such version.
        """
        reference = EnvironmentReference.parse(name, version)
        _check_not_reserved(reference.name)
        if reference.version is None:
            raise ConfigurationError(f"environment {name!r}: say which version is to be labelled")
        if isinstance(labels, str) or not isinstance(labels, Iterable):
            labels = [labels]
        checked = [check_new_label(label) for label in labels]
        for label in checked:
            if not self.history.environments.label(reference.name, reference.version, label):
                raise ConfigurationError(self._describe_unknown(reference))

    def add_wheel(self, path: Path) -> str:
        """Keep a file by its content, as often as it is added; returns its SHA-256."""
        with self.artifacts.used():  # or who clears the store may have just found it to be old
            digest, _ = self.artifacts.blobs.put_file(path)
        return digest

    def add_build_context(self, path: Path, dockerfile_path: str) -> str:
        """Keep a directory that an image is built from, as Docker would send it; its snapshot id.

        The same content again has the id it had. Raises SnapshotError where it is too large, or
        cannot be stored as it is.
        """
        from airflow_mltrain.snapshots.dockerignore import read_docker_rules  # noqa: PLC0415 - rare

        with self.artifacts.used():
            return self.artifacts.take_snapshot(
                path,
                max_bytes=self.settings.snapshot_max_megabytes * 1_000_000,
                rules=read_docker_rules(path, dockerfile_path),
            ).snapshot_id

    def __repr__(self) -> str:
        return f"Workspace({self.history.address!r}, {self.artifacts.address!r})"

    def _find_environment(self, reference: EnvironmentReference) -> Environment | None:
        label = None if reference.label == LATEST else reference.label
        if reference.name in CURATED_NAMES:
            return None if label else find_curated(reference.name, reference.version)
        found = self.history.environments.find(reference.name, reference.version, label)
        return None if found is None else _read(reference.name, *found)

    def _find_unchanged(self, name: str, content: Mapping[str, Any]) -> int | None:
        """The newest version if it says the same, perhaps in fewer words of an older package."""
        found = self.history.environments.find(name)
        if found is None:
            return None
        try:
            is_same = _content(_read(name, *found)) == content
        except ConfigurationError:
            return None
        return found[0] if is_same else None

    def _describe_unknown(self, reference: EnvironmentReference) -> str:
        versions = self.history.environments.list_versions(reference.name)
        if curated := find_curated(reference.name):
            versions = {int(curated.version or 1): []}
        if not versions:
            names = {*CURATED_NAMES, *self.history.environments.list_latest()}
            return f"there is no environment {str(reference)!r}{_describe_names(reference, names)}"
        is_label = reference.label is not None
        wanted = f"label {reference.label!r}" if is_label else f"version {reference.version}"
        labels = [
            f"{label!r} (version {number})"
            for number, given in versions.items()
            for label in given
        ]
        return (
            f"environment {reference.name!r} has no {wanted}; its newest version is "
            f"{max(versions)}, and its labels are: {', '.join(labels) or 'none'}"
        )


def _warn_unused(method: str, given: Mapping[str, object]) -> None:
    if unused := [name for name, value in given.items() if value is not None]:
        warnings.warn(
            f"{method}: {', '.join(unused)} can be left out, and count for nothing: the "
            "workspace is the one that [mltrain] in airflow.cfg names",
            stacklevel=3,
        )


def _read(name: str, number: int, content: Mapping[str, Any]) -> Environment:
    try:
        environment = Environment.model_validate(content)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"environment '{name}:{number}' cannot be used as it was registered; register it "
            f"again:\n{error}"
        ) from None
    environment.version = str(number)
    return environment


def _content(environment: Environment) -> dict[str, Any]:
    return environment.model_dump(mode="json", exclude={"version"})


def _check_not_reserved(name: str) -> None:
    if name.startswith(_RESERVED_PREFIXES):
        raise ConfigurationError(
            f"environment {name!r}: names that begin with {' or '.join(_RESERVED_PREFIXES)} "
            "belong to curated environments; clone it under another name"
        )


def _describe_names(reference: EnvironmentReference, names: Collection[str]) -> str:
    by_lowered = {name.lower(): name for name in sorted(names)}
    close = [by_lowered[each] for each in get_close_matches(reference.name.lower(), by_lowered)]
    if ours := suggest_curated(reference.name):
        close.insert(0, ours)
    ordered = list(dict.fromkeys([*close, *sorted(names)]))
    more = len(ordered) - _SHOWN_NAMES
    return (
        (f"; did you mean {close[0]!r}?" if close else ".")
        + f" There are: {', '.join(ordered[:_SHOWN_NAMES])}"
        + (f" and {more} more" if more > 0 else "")
    )
