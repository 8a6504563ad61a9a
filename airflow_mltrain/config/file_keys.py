"""What a file of Azure ML's says, checked; and what of it is not here, in one list."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.alias_generators import to_camel

from airflow_mltrain.config.fault import describe
from airflow_mltrain.config.yaml_document import Location, YamlDocument
from airflow_mltrain.errors import ConfigurationError

_KEEPS_SECRETS: Final = ("environmentVariables", "environment_variables", "password")

_Keys = TypeVar("_Keys", bound=BaseModel)
LackRule: TypeAlias = tuple[Location, tuple[Any, ...], str, bool]
"""A key, the values that ask for nothing, what to do instead, and whether it changes the run."""


@dataclass(frozen=True)
class Lack:
    """A key that is not honoured here, and what to do instead."""

    location: Location
    remedy: str
    changes_run: bool = False  # without it something else would be run
    document: YamlDocument | None = None  # where another one says it than the one that is read


def read_keys(document: YamlDocument, model: type[_Keys]) -> _Keys:
    """The keys of the file; raises ConfigurationError, a line for each that is wrong."""
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        faults = dict.fromkeys(_describe(document, model, fault) for fault in error.errors())
        raise ConfigurationError("\n".join(faults)) from None


def spell_texts(
    document: YamlDocument, keys: BaseModel, texts: Iterable[Sequence[str]], above: Location = ()
) -> None:
    """Let what counts as text be as it is written, where YAML takes it for a number."""
    for *way, last in texts:
        holder: Any = keys
        for name in way:
            holder = getattr(holder, name, None)
        if holder is not None:
            location = (*above, *map(to_camel, way), to_camel(last))
            setattr(holder, last, document.spell(getattr(holder, last), *location))


def strip(value: Any) -> Any:
    """The value without what says nothing in it; None where nothing is left."""
    if isinstance(value, dict):
        return {key: one for key, one in value.items() if one not in (None, "", [], False)} or None
    return None if value in (None, "", []) else value


def as_texts(values: dict[str, Any] | None) -> dict[str, Any] | None:
    """The values as text, but for those that are mappings."""
    if values is None:
        return None
    return {key: value if isinstance(value, dict) else str(value) for key, value in values.items()}


def find_lacks(
    rules: Iterable[LackRule], said: dict[str, Any], above: Location = ()
) -> list[Lack]:
    """What is said, below `above`, and is not here."""
    lacks = []
    for location, asking_nothing, remedy, changes_run in rules:
        value: Any = said
        for part in location:
            value = value.get(part) if isinstance(value, dict) else None
        value = strip(value)
        if value is not None and value not in asking_nothing:
            lacks.append(Lack((*above, *location), remedy, changes_run))
    return lacks


def report(document: YamlDocument, lacks: Sequence[Lack]) -> None:
    """Refuse the file, with all that is not here in it, or warn of it once.

    It is refused where something else would be run than the file says.
    """
    if not lacks:
        return
    lines = [
        f"{(lack.document or document).place(lack.location)}: "
        f"{'.'.join(map(str, lack.location))}: {lack.remedy}"
        for lack in lacks
    ]
    if any(lack.changes_run for lack in lacks):
        grave = [line for line, lack in zip(lines, lacks, strict=True) if lack.changes_run]
        light = [line for line, lack in zip(lines, lacks, strict=True) if not lack.changes_run]
        also = ["left out besides:", *light] if light else []
        head = f"{document.path} asks for what is not here, and would run as something else:"
        raise ConfigurationError("\n".join([head, *grave, *also]))
    head = f"{document.path} asks for what is not here, and is loaded without it:"
    warnings.warn("\n".join([head, *lines]), stacklevel=4)


def _describe(document: YamlDocument, model: type[BaseModel], fault: Any) -> str:
    location = tuple(
        part for part in fault["loc"] if document.find(*_known(document, fault, part))
    )
    key = ".".join(str(part).partition("=")[0] for part in location)  # NAME=value may be a secret
    place = f"{document.place(location)}: {key}"
    if fault["type"] == "extra_forbidden":
        return f"{place}: {_describe_unknown(_model_at(model, location[:-1]), str(location[-1]))}"
    if fault["type"] == "missing":
        return f"{document.path}: {fault['loc'][-1]}: is missing, and has to be given"
    right = fault["msg"].replace("Input should", "it should")
    if any(part in _KEEPS_SECRETS for part in location):
        return f"{place}: {type(fault['input']).__name__} was given; {right}"
    return f"{place}: {describe(fault['input'])} was given; {right}"


def _known(document: YamlDocument, fault: Any, part: int | str) -> tuple[int | str, ...]:
    """The way to `part`; pydantic puts the branches of a union between, which nobody wrote."""
    way: tuple[int | str, ...] = ()
    for one in fault["loc"]:
        if document.find(*way, one) is not None:
            way = (*way, one)
        if one == part:
            return way if way and way[-1] == part else (*way, part)
    return way


def _describe_unknown(model: type[BaseModel], name: str) -> str:
    names = sorted(field.alias or key for key, field in model.model_fields.items())
    close = get_close_matches(name, names, n=1)
    question = f"; did you mean {close[0]}?" if close else "."
    return f"there is no such key{question} Keys: {', '.join(names)}"


def _model_at(model: type[BaseModel], location: Iterable[int | str]) -> type[BaseModel]:
    for part in location:
        for key, field in model.model_fields.items():
            if part in (key, field.alias):
                model = _find_model(field.annotation) or model
    return model


def _find_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_find_model, get_args(annotation))), None)
