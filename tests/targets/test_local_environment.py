"""This machine as a compute target: what a build leaves behind, whoever is killed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.local import LocalTarget
from tests.services.environments import environment_request
from tests.services.jobs import (
    JobBench,
    kill_supervisor,
    require_quiet,
    wait_for,
    wait_for_log,
    wait_until_ended,
)
from tests.services.package_index import PackageIndex, package_index

_SECRET = "s3cret-of-the-index"  # noqa: S105 - made up
_CREDENTIALS = {"127.0.0.1": ("trainer", _SECRET)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def target(root: Path) -> LocalTarget:
    return LocalTarget("local", root)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[JobBench]:
    bench = JobBench(tmp_path / "bench")
    yield bench
    require_quiet(bench)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    with package_index(tmp_path / "index", credentials=("trainer", _SECRET)) as index:
        index.add("alpha", "1.0")
        yield index


def files_with_secrets(root: Path) -> list[Path]:
    """Of those that last for as long as it takes to look."""
    found = []
    for folder, _, names in os.walk(root):
        for path in (Path(folder, name) for name in names):
            with suppress(FileNotFoundError):
                is_file = path.is_file() and not path.is_symlink()
                if is_file and _SECRET.encode() in path.read_bytes():
                    found.append(path)
    return found


@pytest.mark.parametrize("times", [1, 2])
def test_no_file_has_the_credentials_while_the_script_runs(
    target: LocalTarget, bench: JobBench, root: Path, index: PackageIndex, times: int
) -> None:
    # given
    environment = environment_request(index, "alpha", credentials=_CREDENTIALS)
    for _ in range(times - 1):
        wait_until_ended(target, bench.python(target, "import alpha", environment=environment))

    # when
    script = "import alpha, time; print('ready', flush=True); time.sleep(1000)"
    run_id = bench.python(target, script, environment=environment)
    wait_for_log(target, run_id, b"ready")

    # then
    assert files_with_secrets(root) == []
    target.cancel(run_id)
    assert wait_until_ended(target, run_id).status is RunStatus.CANCELED


def test_a_build_whose_supervisor_is_killed_leaves_no_secret_and_no_half_built_tree(
    target: LocalTarget, bench: JobBench, root: Path, index: PackageIndex
) -> None:
    # given
    index.hang()
    environment = environment_request(index, "alpha", credentials=_CREDENTIALS)
    run_id = bench.python(target, "import alpha", environment=environment)
    wait_for(lambda: files_with_secrets(root))

    # when
    kill_supervisor(root, run_id)
    ended = wait_until_ended(target, run_id)

    # then
    assert ended.status is RunStatus.FAILED
    assert files_with_secrets(root) == []
    assert [path.name for path in (root / "envs" / "trees").iterdir() if path.is_dir()] == []


def test_a_python_that_is_hard_to_find_does_not_hold_up_a_cancel(
    target: LocalTarget,
    bench: JobBench,
    index: PackageIndex,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given
    shim = tmp_path / "shims" / "python3.42"
    shim.parent.mkdir()
    shim.write_text("#!/bin/sh\nsleep 1000\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}:/usr/bin:/bin")
    environment = environment_request(index, "alpha")
    recipe = {**environment.recipe, "python": "3.42"}
    run_id = bench.python(
        target,
        "import alpha",
        environment=type(environment)("tested", recipe, environment.recipe_id),
    )
    wait_for(lambda: b"python3.42" in _programs())

    # when
    target.cancel(run_id)

    # then
    assert wait_until_ended(target, run_id).status is RunStatus.CANCELED


@pytest.mark.parametrize("lock", [{}, {"packages": [1], "conda": []}])
def test_a_lock_that_cannot_be_read_is_resolved_anew(
    target: LocalTarget, bench: JobBench, index: PackageIndex, lock: dict[str, object]
) -> None:
    # given
    plain = environment_request(index, "alpha", credentials=_CREDENTIALS)
    first = wait_until_ended(target, bench.python(target, "import alpha", environment=plain))
    assert first.environment is not None

    # when
    environment = environment_request(
        index,
        "alpha>0",
        credentials=_CREDENTIALS,
        locks={first.environment["platform"]: lock},
    )
    ended = wait_until_ended(target, bench.python(target, "import alpha", environment=environment))

    # then
    assert ended.status is RunStatus.COMPLETED, ended


def _programs() -> bytes:
    found = b""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += path.read_bytes()
        except OSError:
            continue
    return found
