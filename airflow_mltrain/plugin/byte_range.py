"""Which bytes of a file a request asks for."""

from __future__ import annotations

import re
from typing import Final

# The numbers may be of any size, but not of so many digits that Python would not read them.
_RANGE: Final = re.compile(r"bytes=\s*([0-9]{0,99})\s*-\s*([0-9]{0,99})\s*", re.IGNORECASE)


def find_range(
    header: str | None, size_bytes: int, *, entity_tag: str, if_range: str | None = None
) -> range | None:
    """The positions that a `Range` header asks for; empty where the file has none of them.

    None where all of the file is to come: without such a header, with one that is none or asks
    for several ranges at once, or where `if_range` names another content than the tag does.
    """
    found = None if header is None else _RANGE.fullmatch(header)
    if found is None or (if_range is not None and if_range != entity_tag):
        return None
    first, last = found.groups()
    if not first:
        return range(max(0, size_bytes - int(last)), size_bytes) if last else None
    if last and int(last) < int(first):
        return None
    stop = min(int(last) + 1, size_bytes) if last else size_bytes
    return range(int(first), stop)
