"""Text that ends up on a command line, in a process's environment, or in the run history."""

from __future__ import annotations

import math
import os
import re
import shlex
from typing import Annotated, Final, TypeAlias, TypeVar

from pydantic import AfterValidator, BeforeValidator, PlainValidator

ARGUMENT_LIMIT_BYTES: Final = 131_071  # MAX_ARG_STRLEN of Linux, without the closing NUL

_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_PLACEHOLDER = re.compile(r"\0(\d+)\0")
_Value = TypeVar("_Value")


def _check_plain(text: str) -> str:
    if "\0" in text:
        raise ValueError("it should be text without NUL characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("it should be text that UTF-8 can encode") from None
    return text


def _check_not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("it should not be empty")
    return text


def _check_variable_name(name: str) -> str:
    if not _VARIABLE_NAME.fullmatch(name):
        raise ValueError("its name should be letters, digits and _, and not begin with a digit")
    if name.startswith("MLTRAIN_"):
        raise ValueError("its name should not begin with MLTRAIN_, which is reserved")
    return name


def check_variable_lengths(variables: dict[str, _Value]) -> dict[str, _Value]:
    """Give `variables` back; raises ValueError where no process can get one of them."""
    for name, value in variables.items():
        if isinstance(value, str) and len(f"{name}={value}".encode()) > ARGUMENT_LIMIT_BYTES:
            raise ValueError(
                f"{name} and its value should have at most {ARGUMENT_LIMIT_BYTES:,} bytes, "
                "the limit of Linux; write the value to a file in source_directory"
            )
    return variables


def _write_number(value: object) -> object:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return str(value) if is_number else value


def _take_verbatim(value: object) -> str | int | float:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str):
        return check_length(str.__str__(value))
    if isinstance(value, int) and not isinstance(value, bool):
        check_length(str(int(value)))
        return int(value)
    if isinstance(value, float):
        number = float(value)
        return number if math.isfinite(number) else str(number)  # JSON has no NaN
    raise ValueError("it should be text, a number or a path; write anything else as text")


PlainText: TypeAlias = Annotated[str, AfterValidator(_check_plain)]
"""Text that a process, a file name and a database can all hold."""

NonEmptyText: TypeAlias = Annotated[PlainText, AfterValidator(_check_not_blank)]

NumberAsText: TypeAlias = Annotated[PlainText, BeforeValidator(_write_number)]
"""Text; a number is taken as it would print."""

Argument: TypeAlias = Annotated[str | int | float, PlainValidator(_take_verbatim)]
"""One word of a command line, kept as it was given; paths become text."""

VariableName: TypeAlias = Annotated[str, AfterValidator(_check_variable_name)]

EnvironmentVariables: TypeAlias = Annotated[
    dict[VariableName, PlainText], AfterValidator(check_variable_lengths)
]


def check_length(text: str) -> str:
    """Give `text` back; raises ValueError where no process can get it as one argument."""
    if len(_check_plain(text).encode()) > ARGUMENT_LIMIT_BYTES:
        raise ValueError(
            f"it should have at most {ARGUMENT_LIMIT_BYTES:,} bytes, the limit of Linux; "
            "write it to a file in source_directory and give the file's name"
        )
    return text


def is_template(text: str) -> bool:
    """Whether Jinja has yet to render this text."""
    return "{{" in text or "{%" in text


def split_arguments(text: str) -> list[str]:
    """The words of a command line, quoted as for a shell; a Jinja expression stays in one word.

    Raises ValueError where a quotation is not closed.
    """
    templates: list[str] = []

    def put_aside(match: re.Match[str]) -> str:
        templates.append(match[0])
        return f"\0{len(templates) - 1}\0"

    def put_back(match: re.Match[str]) -> str:
        return templates[int(match[1])]

    protected = _TEMPLATE.sub(put_aside, _check_plain(text))
    try:
        words = shlex.split(protected)
    except ValueError as error:
        raise ValueError(f"its quotes and backslashes should match ({error})") from None
    return [_PLACEHOLDER.sub(put_back, word) for word in words]
