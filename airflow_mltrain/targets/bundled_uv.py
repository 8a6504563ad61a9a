"""The uv that was installed with this package, for machines that have none."""

from __future__ import annotations

import sys
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

_CHUNK_BYTES = 1024 * 1024


class BundledUv(NamedTuple):
    """A uv, under a name that says which."""

    path: Path
    name: str

    def digest(self) -> str:
        """The SHA-256 of the program."""
        found = sha256()
        with self.path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                found.update(chunk)
        return found.hexdigest()


@cache
def find_bundled_uv() -> BundledUv | None:
    """The uv beside this process's Python; None where it was installed elsewhere."""
    path = Path(sys.executable).with_name("uv")
    return BundledUv(path, f"uv-{version('uv')}") if path.exists() else None
