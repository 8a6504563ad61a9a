"""An environment cache that is filled by a plain installer, and by builders that are killed."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mltrain.runtime.job_agent.environment import builder
from airflow_mltrain.runtime.job_agent.environment.builder import Builder, Installer
from airflow_mltrain.runtime.job_agent.environment.cache import EnvironmentCache
from airflow_mltrain.runtime.job_agent.folder import JobFolder
from airflow_mltrain.runtime.job_agent.secret import hand_on
from tests.fakes.installer import PlainInstaller, builds, is_whole
from tests.services.installation import recipe
from tests.services.processes import fork_server

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

_STEPS = ("open", "os.", "fcntl.", "shutil.")


@dataclass(frozen=True)
class CacheBench:
    """A root folder on a machine, and builders that work in it."""

    root: Path
    installer: PlainInstaller = field(init=False)

    def __post_init__(self) -> None:
        self.root.mkdir(exist_ok=True)
        object.__setattr__(self, "installer", PlainInstaller(self.root / "journal"))

    @property
    def folder(self) -> Path:
        return self.root / "envs"

    @property
    def trees(self) -> Path:
        return self.folder / "trees"

    @property
    def cache(self) -> EnvironmentCache:
        return EnvironmentCache(str(self.folder))

    @property
    def builds(self) -> list[str]:
        return builds(self.installer.journal)

    def build(self, request: dict[str, Any], installer: PlainInstaller | None = None) -> None:
        """Have the environment ready, in this process."""
        chosen = installer or self.installer
        Builder(self.cache, request, str(self.root / "blobs"), chosen).run({})

    def is_found_whole(self, request: dict[str, Any]) -> bool:
        """Whether there is such an environment; fails the test if what is given is half-built."""
        lease = self.cache.find(request)
        if lease is None:
            return False
        assert is_whole(Path(lease.tree))
        lease.close()
        return True

    def left_over(self) -> set[str]:
        """What lies in the trees folder besides the trees of ready environments."""
        ready = self.cache.list()
        names = {path.name for path in self.trees.iterdir()}
        return names if len(names) > len(ready) else set()


def environment_request(
    *packages: str,
    name: str = "sklearn:3",
    recipe_id: str = "a" * 64,
    python: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """What a job says of its environment."""
    content = recipe(*packages, python=python, index={"no_index": True})
    request = {"name": name, "recipe": content, "recipe_id": recipe_id, "locks": {}, "uv": None}
    return {**request, "prepare_timeout_seconds": None, "max_cache_bytes": None, **more}


def job_folder(bench: CacheBench, request: dict[str, Any]) -> JobFolder:
    """A job of run id `run-1` that asks for this environment."""
    folder = JobFolder(str(bench.root), "run-1")
    folder.create()
    folder.write_spec({"environment": request})
    return folder


def run_builder(
    job: JobFolder,
    installer: Installer,
    capfd: pytest.CaptureFixture[str],
    handed_over: bytes = b"",
) -> tuple[int, str]:
    """The exit code of the builder of that job, and what it adds to the job's log."""
    handler = signal.getsignal(signal.SIGTERM)
    credentials = hand_on(handed_over)
    os.dup2(credentials, 0)
    os.close(credentials)
    try:
        builder.main([job.root, job.run_id], installer)
    except SystemExit as end:
        return int(str(end.code)), capfd.readouterr().out
    finally:
        signal.signal(signal.SIGTERM, handler)
    return 0, capfd.readouterr().out


def kill_at_step(work: Callable[[Path], None], folder: Path, step: int) -> bool:
    """Run `work` in a process that is killed at its n-th step in the file system.

    False if it came to its end first.
    """
    process = fork_server().Process(target=_work_until, args=(work, folder, step))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def _work_until(work: Callable[[Path], None], folder: Path, step: int) -> None:
    steps = itertools.count(1)

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        is_ours = event.startswith("fcntl.") or str(folder) in str(arguments[:2])
        if event.startswith(_STEPS) and is_ours and next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)
    work(folder)
