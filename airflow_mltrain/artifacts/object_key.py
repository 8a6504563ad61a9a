"""From the name of a file to the key of an object that any store and any tool can take."""

from __future__ import annotations

import hashlib
import os
from typing import Final

_PLAIN: Final = frozenset("!$&'()+,-./:;=@_ ")
_MOST_BYTES: Final = 600
_MOST_PART_BYTES: Final = 200


def key_of(name: str) -> str:
    """The key: the name itself where it is plain, else with `%` and hexadecimal digits in it.

    Different names have different keys. One that is too long for some store becomes its SHA-256.
    """
    key = "".join(_escape(character) for character in name)
    longest = max(len(part.encode()) for part in key.split("/"))
    if len(key.encode()) > _MOST_BYTES or longest > _MOST_PART_BYTES:
        return f"%long/{hashlib.sha256(os.fsencode(name)).hexdigest()}"
    return key


def _escape(character: str) -> str:
    if character in _PLAIN or (character.isalnum() and _is_text(character)):
        return character
    return "".join(f"%{byte:02X}" for byte in os.fsencode(character))


def _is_text(character: str) -> bool:
    return not "\ud800" <= character <= "\udfff"
