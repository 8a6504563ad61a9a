"""Logged values as JSON: numbers of numpy and the like say what they are, without importing it."""

import json
from typing import Any, Dict, List, Tuple

LONGEST_LINE_BYTES = 512 * 1024  # what reads the journal takes lines of twice as much
_MOST_BITS = 13_000  # of an integer: Python refuses to read one of more than 4300 digits
_PART_CELLS = 10_000


def as_plain(value: Any) -> Any:  # noqa: PLR0911  # one for each kind of value
    """As JSON data; TypeError where it is nothing of the kind."""
    kind = type(value)
    if kind is float or kind is str or kind is bool or value is None:
        return value
    if isinstance(value, int):
        return value if kind is bool else _bounded(int(value))
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str.__str__(value)
    if hasattr(value, "tolist"):
        return as_plain(value.tolist())
    if hasattr(value, "items"):
        return {str(key): as_plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, range)):
        return [as_plain(one) for one in value]
    return _as_number(value)


def as_list(values: Any) -> List[Any]:
    """The plain values of anything that can be gone through; TypeError where it cannot."""
    if isinstance(values, (str, bytes)):
        raise TypeError("a list is wanted, not the text {!r:.100}".format(values))
    found = as_plain(values if hasattr(values, "tolist") else list(values))
    return found if isinstance(found, list) else [found]


def as_json(name: str, message: Dict[str, Any]) -> bytes:
    """A line of the journal; ValueError where it would be too long for who reads it."""
    line = json.dumps(message).encode() + b"\n"
    if len(line) > LONGEST_LINE_BYTES:
        words = (
            "what is logged as {!r:.100} takes {:,} bytes, and {:,} are the most: write it to a "
            "file in outputs/, which is kept"
        )
        raise ValueError(words.format(name, len(line), LONGEST_LINE_BYTES))
    return line


def parts_of_list(values: List[Any]) -> List[List[Any]]:
    """A list in pieces that fit a line each, in order; an empty one is one piece."""
    return [values[at : at + _PART_CELLS] for at in range(0, len(values), _PART_CELLS)] or [[]]


def parts_of_table(columns: Dict[str, List[Any]]) -> List[Dict[str, List[Any]]]:
    """The rows of a table in pieces that fit a line each, in order."""
    count = max(map(len, columns.values()), default=0)
    rows = max(1, _PART_CELLS // max(1, len(columns)))
    return [
        {name: values[at : at + rows] for name, values in columns.items()}
        for at in range(0, count, rows)
    ] or [columns]


def as_text(value: Any) -> str:
    """The value of a tag or property, which is a text."""
    return str(value.tolist() if hasattr(value, "tolist") else value)


def _bounded(number: int) -> int:
    if number.bit_length() > _MOST_BITS:
        raise ValueError(
            "an integer of {:,} bits is too large to be logged: log its logarithm, or a text "
            "that is shorter".format(number.bit_length())
        )
    return number


def _as_number(value: Any) -> Any:
    for convert in ("__index__", "__float__"):
        if hasattr(value, convert):
            return as_plain(int(value) if convert == "__index__" else float(value))
    raise TypeError(
        "cannot log {}: give a number, a text, a list or a dictionary".format(type(value).__name__)
    )


def schema_of(name: str, value: Any, schema_type: str) -> Tuple[str, Any]:
    """A chart's name and its data, given as a dictionary or as JSON; ValueError for others."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ValueError("{} {!r} is no JSON: {}".format(schema_type, name, error)) from None
    if not isinstance(value, dict) or not isinstance(value.get("data"), dict):
        raise ValueError(  # noqa: TRY004  # of texts it would be one too
            '{} {!r}: a dictionary is wanted with "schema_type": "{}", "schema_version", and a '
            'dictionary as "data"'.format(schema_type, name, schema_type)
        )
    given = value.get("schema_type", schema_type)
    if given != schema_type:
        raise ValueError("{} {!r} has the schema_type {!r}".format(schema_type, name, given))
    return name, as_plain(value)
