"""A file that a person wrote, which is small; what never ends is no such file."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST_BYTES: Final = 10_000_000


def read_small(path: Path, largest_bytes: int = _LARGEST_BYTES) -> bytes:
    """All of a file; raises OSError, as for any that cannot be read, where it is larger.

    No more of it is read than that: a device such as `/dev/zero` says that it is empty, and never
    ends.
    """
    with path.open("rb") as file:
        content = file.read(largest_bytes + 1)
    if len(content) > largest_bytes:
        raise OSError(errno.EFBIG, f"it has more than {largest_bytes:,} bytes")
    return content
