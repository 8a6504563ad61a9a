"""Sizes as Docker writes them: a whole number and perhaps a unit."""

from __future__ import annotations

import re
from typing import Final

from airflow_mltrain.config.text import is_template

_SIZE = re.compile(r"([1-9][0-9]{0,18})([bkmg]?)", re.IGNORECASE)
_UNIT_BYTES: Final = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_MOST_BYTES: Final = (1 << 63) - 1


def parse_size(text: str) -> int:
    """How many bytes that are, `k` being 1024; raises ValueError."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("it should be a whole number and a unit, b, k, m or g, such as '2g'")
    size_bytes = int(match[1]) * _UNIT_BYTES[match[2].lower()]
    if size_bytes > _MOST_BYTES:
        raise ValueError("it should be less than any machine has, such as '2g'")
    return size_bytes


def check_size(text: str) -> str:
    """Give `text` back; raises ValueError unless it is a size, or a template."""
    if not is_template(text):
        parse_size(text)
    return text
