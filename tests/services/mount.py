"""File systems of a test's own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services.requirement import require


@contextmanager
def mounted(folder: str | Path, *options: str) -> Iterator[None]:
    """A mount at that folder, where this user may; the test is skipped otherwise."""
    mount = subprocess.run(
        ["mount", *options, folder], capture_output=True, text=True, check=False
    )
    if mount.returncode != 0:
        require("mount", f"nothing can be mounted here: {mount.stderr}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def small_disk_at(folder: Path, size_bytes: int) -> Iterator[None]:
    """A disk of that size at a folder that is made for it."""
    folder.mkdir()
    with mounted(folder, "-t", "tmpfs", "-o", f"size={size_bytes}", "none"):
        yield
