"""What connections to compute targets of several kinds say, checked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

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


_Settings = TypeVar("_Settings", bound=ConfigModel)


def overlay(form: ConfigModel, below: _Settings) -> _Settings:
    """What the form says, and for what it leaves empty what the connection below says."""
    own = {"kind", "connection"}
    said = form.model_dump(exclude=own, exclude_unset=True, exclude_none=True)
    return type(below).model_validate({**below.model_dump(exclude_unset=True), **said})


def read_extra(model: type[_Settings], connection: str, extra: Mapping[str, Any]) -> _Settings:
    """What stands under `mltrain` in the extra of a connection of a provider's own type."""
    try:
        found = parse_json(extra.get("mltrain"))
        if isinstance(found, Mapping):
            found = {key: value for key, value in found.items() if value is not None}
        return model.model_validate({} if found is None else found)
    except (ConfigurationError, ValueError) as error:
        raise ConfigurationError(f"connection {connection!r}, extra 'mltrain': {error}") from None
