"""An installer that makes an environment of a few files, and writes down that it did."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_mltrain.runtime.job_agent.installer.installation import InstallError, Tools

PARTS = 5


@dataclass(frozen=True)
class PlainInstaller:
    """Resolves every recipe to `lock`; `journal` gets a line for each build.

    Without `is_resolver` it knows the lock only once it has built, as pip does.
    """

    journal: Path
    lock: tuple[str, ...] = ("alpha==1",)
    is_resolver: bool = True
    build_seconds: float = 0.0
    part_bytes: int = 10
    complaint: str | None = None

    def find_tools(self, brought_uv: str | None) -> Tools:
        return Tools(uv=(brought_uv or "uv") if self.is_resolver else None, conda=None)

    def resolve(
        self,
        recipe: dict[str, Any],
        python: str,
        work: str,
        tools: Tools,
    ) -> dict[str, Any] | None:
        assert Path(python).is_absolute() or recipe["conda"]
        assert Path(work).stat().st_mode & 0o777 == 0o700
        assert tools
        return self._lock_of(recipe) if self.is_resolver else None

    def build(
        self,
        tree: str,
        recipe: dict[str, Any],
        lock: dict[str, Any] | None,
        python: str,
        work: str,
        tools: Tools,
    ) -> dict[str, Any]:
        assert tools
        with self.journal.open("a") as journal:
            journal.write(f"{tree} {_secrets_in(work)}\n")
        # The interpreter comes first, as in a true one: half-built looks like built.
        (Path(tree) / "bin").mkdir(parents=True)
        (Path(tree) / "bin" / "python").symlink_to(python or sys.executable)
        for number in range(PARTS):
            (Path(tree) / f"part-{number}").write_bytes(b"x" * self.part_bytes)
            time.sleep(self.build_seconds / PARTS)
        if self.complaint is not None:
            raise InstallError(self.complaint)
        return lock or self._lock_of(recipe)

    def _lock_of(self, recipe: dict[str, Any]) -> dict[str, Any]:
        given = [package for package in recipe["packages"] if " @ " in package]
        return {"packages": [*self.lock, *given], "conda": []}


def is_whole(tree: Path) -> bool:
    """Whether the installer came to its end there."""
    return all((tree / f"part-{number}").stat().st_size > 0 for number in range(PARTS))


def builds(journal: Path) -> list[str]:
    """A line for each build that was begun."""
    return journal.read_text().splitlines() if journal.exists() else []


def _secrets_in(work: str) -> str:
    netrc = Path(work) / "netrc"
    return f"{netrc.stat().st_mode & 0o777:o} {netrc.read_text()}" if netrc.exists() else ""
