"""What a connection says of a compute target, checked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

from airflow_mltrain.config.model import ConfigModel
from airflow_mltrain.errors import ConfigurationError

_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def parse_json(value: Any) -> Any:
    """A form has text where this has a mapping."""
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"this is not JSON: {error}") from None


def _check_variables(value: dict[str, str] | None) -> dict[str, str] | None:
    for name, text in (value or {}).items():
        if not _VARIABLE_NAME.fullmatch(name):
            shown = name.partition("=")[0]  # NAME=value is an easy slip, and may be a secret
            raise ValueError(f"{shown!r} cannot be the name of an environment variable")
        if "\0" in text:
            raise ValueError(f"the value of {name!r} has a NUL in it")
    return value


def _check_root(value: str) -> str:
    if not value.startswith(("/", "~/")) or "\0" in value or not value.strip("~/"):
        raise ValueError("give an absolute path, or one below the login's home: ~/...")
    return value


Text = Annotated[str, Field(strict=True, min_length=1, pattern=r"^[^\x00]*$")]
Count = Annotated[int, Field(strict=True, ge=1)]
Variables = Annotated[
    dict[str, Annotated[str, Field(strict=True)]] | None,
    BeforeValidator(parse_json),
    AfterValidator(_check_variables),
]


def _list_devices(value: Any) -> Any:
    """A number of cards means those from 0 on; a form has them as text."""
    if isinstance(value, str) and "," in value and "[" not in value:
        return [name.strip() for name in value.split(",")]
    found = parse_json(value)
    if isinstance(found, int) and not isinstance(found, bool) and found >= 0:
        return [str(number) for number in range(found)]
    return found


Gpus = Annotated[
    list[Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9_:.-]*$")]] | None,
    BeforeValidator(_list_devices),
]


class LocalTargetConfig(ConfigModel):
    """The extra of a connection to this machine; the UI stores what was left empty as null."""

    kind: Literal["local"] | None = "local"
    root: Annotated[str, Field(strict=True, pattern="^/")] | None = None
    max_concurrent_runs: Count | None = None
    gpus: Gpus = None


class SshTargetConfig(ConfigModel):
    """How jobs run on an SSH host; `null` is as if it were not there."""

    root: Annotated[str, Field(strict=True), AfterValidator(_check_root)] | None = None
    python: Text | None = None
    max_concurrent_runs: Count | None = None
    gpus: Gpus = None
    environment_variables: Variables = Field(default=None, repr=False)
    jump_host: Text | None = None
    proxy_command: Text | None = None

    @property
    def root_folder(self) -> str:
        """Where everything of a run lies, on the host."""
        return self.root or "~/.mltrain"


class SshFormConfig(SshTargetConfig):
    """The extra of a connection of our own type that points at one of type `ssh`."""

    kind: Literal["ssh"]
    connection: Text


def read_ssh_extra(connection: str, extra: Mapping[str, Any]) -> SshTargetConfig:
    """What stands under `mltrain` in the extra of a connection of type `ssh`."""
    try:
        found = parse_json(extra.get("mltrain"))
        return SshTargetConfig.model_validate({} if found is None else found)
    except (ConfigurationError, ValueError) as error:
        raise ConfigurationError(f"connection {connection!r}, extra 'mltrain': {error}") from None


_Settings = TypeVar("_Settings", bound=ConfigModel)


def overlay(form: ConfigModel, below: _Settings) -> _Settings:
    """What the form says, and for what it leaves empty what the connection below says."""
    own = {"kind", "connection"}
    said = form.model_dump(exclude=own, exclude_unset=True, exclude_none=True)
    return type(below).model_validate({**below.model_dump(exclude_unset=True), **said})
