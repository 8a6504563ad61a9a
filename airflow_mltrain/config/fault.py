"""What is wrong with a value that a user gave, in words, one line a fault."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic import BaseModel, ValidationError

from airflow_mltrain.absent import explain_member

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

# Pydantic puts the branch of a union that it took into the path; no user wrote these.
_UNION_BRANCHES: Final = ("<environment>", "<name>", "<list>", "<text>", "<reference>")

_KEEPS_SECRETS = "environment_variables"
_ABOUT_WHOLE = ("json_invalid", "model_type")  # text given for a whole may hold secrets too
_UNKNOWN_NAME = ("extra_forbidden", "no_such_attribute")
_SHOWN_CHARACTERS = 60
_SHOWN_BITS = 128


def describe_faults(model: type[BaseModel], error: ValidationError) -> str:
    """One line a fault: its dotted key, what was given, what would be right.

    Values of environment variables are never shown.
    """
    return "\n".join(_describe_fault(model, details) for details in error.errors())


def describe(value: object) -> str:
    """A value as a message may show it: short, on one line, and without a URL's password."""
    if isinstance(value, str):
        value = _hide_user_part(value)
        shown = value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}..."
        return repr(shown)
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS:
        return "a very large number"
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    return _describe_type(value)


def _hide_user_part(text: str) -> str:
    """Without all that may belong to a password, which people write with spaces and '@' too."""
    head, _, rest = text.rpartition("@")
    scheme, is_url, _ = head.partition("://")
    if is_url:
        return f"{scheme}://****@{rest}"
    return f"****@{rest}" if ":" in head else text


def _describe_fault(model: type[BaseModel], details: ErrorDetails) -> str:
    path = [part for part in details["loc"] if part not in _UNION_BRANCHES]
    if details["type"] in _UNKNOWN_NAME:
        return f"{_key(model, path)}: {_describe_unknown(_model_at(model, path[:-1]), path[-1])}"
    if details["type"] == "missing":
        return f"{_key(model, path)}: is missing, and has to be given"
    right = details["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    given = details["input"]
    if "[key]" in path or (details["type"] == "value_error" and not path):
        return f"{_key(model, path)}: {right}"
    if _KEEPS_SECRETS in path or details["type"] in _ABOUT_WHOLE:
        return f"{_key(model, path)}: {_describe_type(given)} was given; {right}"
    return f"{_key(model, path)}: {describe(given)} was given; {right}"


def _key(model: type[BaseModel], path: Sequence[int | str]) -> str:
    key = model.__name__
    for part in path:
        if isinstance(part, int):
            key += f"[{part}]"
        elif part != "[key]":
            name = part.partition("=")[0]  # NAME=value is an easy slip, and may be a secret
            key += f".{name if name.isprintable() else ascii(name)}"
    return key


def _describe_type(value: object) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _describe_unknown(model: type[BaseModel], name: int | str) -> str:
    if (absent := explain_member(model, str(name))) is not None:
        return str(absent)
    suggestion = _suggest(model, str(name))
    question = f"; did you mean {suggestion}?" if suggestion else "."
    return f"there is no such name{question} Valid names: {', '.join(sorted(_names(model)))}"


def _suggest(model: type[BaseModel], name: str) -> str | None:
    close = get_close_matches(name.lower(), _names(model), n=1)
    if close and close[0] == name.lower():
        return close[0]
    deeper = (key for key in _dotted_names(model) if key.rpartition(".")[2] == name.lower())
    return next(deeper, close[0] if close else None)


def _names(model: type[BaseModel]) -> set[str]:
    written = {
        name
        for base in model.__mro__
        for name, value in vars(base).items()
        if isinstance(value, property) and value.fset
    }
    return written | model.model_fields.keys()


def _dotted_names(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if nested := _find_model(field.annotation):
            yield from (f"{name}.{key}" for key in _dotted_names(nested))
            yield from (f"{name}.{key}" for key in _names(nested))


def _model_at(model: type[BaseModel], path: Sequence[int | str]) -> type[BaseModel]:
    for part in path:
        field = model.model_fields.get(str(part))
        model = (field and _find_model(field.annotation)) or model
    return model


def _find_model(annotation: Any) -> type[BaseModel] | None:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_find_model, get_args(annotation))), None)
