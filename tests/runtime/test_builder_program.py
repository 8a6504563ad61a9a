"""The builder as a program on a bare machine, with the tools that are really there."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_mltrain.runtime.job_agent.environment import builder
from airflow_mltrain.runtime.job_agent.folder import JobFolder
from airflow_mltrain.runtime.job_agent.installer import installation
from airflow_mltrain.runtime.job_agent.installer.installation import Tools
from tests.services.environment_cache import (
    CacheBench,
    environment_request,
    job_folder,
    run_builder,
)
from tests.services.installation import BOTH, forget_configuration, recipe
from tests.services.package_index import Package, package_index, write_wheel
from tests.services.requirement import require

_RUNTIME = Path(builder.__file__).parents[2]
_OLDEST = Path.home() / ".pyenv" / "versions" / "3.8.18" / "bin" / "python"
_SECRET = ("reader", "open-sesame")
_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from job_agent.environment.builder import main; main(sys.argv[2:])"
)


@pytest.mark.parametrize("python", [sys.executable, str(_OLDEST)])
def test_a_bare_machine_builds_an_environment_without_packages(
    bench: CacheBench, python: str
) -> None:
    if not Path(python).exists():
        require("python3.8", f"there is no {python}")
    job = job_folder(bench, environment_request(name="bare"))

    done = _boot(python, job)

    assert done.returncode == 0, done.stdout
    (ready,) = bench.cache.list()
    assert ready["name"] == "bare"
    (tree,) = bench.trees.iterdir()
    answer = subprocess.run(
        [tree / "bin" / "python", "-c", "import sys; print(sys.prefix)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert answer.strip() == str(tree)


def test_a_bare_machine_without_that_python_says_so(bench: CacheBench) -> None:
    job = job_folder(bench, environment_request(python="3.99"))

    done = _boot(sys.executable, job)

    assert done.returncode == 1
    assert done.stdout.startswith("[mltrain] there is no Python 3.99 on this machine, which has ")
    assert done.stdout.count("\n") == 1
    assert "no Python 3.99" in Path(job.preparation_fault).read_text()


def _boot(python: str, job: JobFolder) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-I", "-S", "-X", "utf8", "-c", _BOOT, _RUNTIME, job.root, job.run_id],
        env={"PATH": os.environ["PATH"], "HOME": str(Path.home())},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@BOTH
def test_a_wheel_of_ones_own_is_installed_with_what_it_needs_from_a_private_index(
    bench: CacheBench,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    find_tools: Callable[[], Tools],
) -> None:
    # given
    forget_configuration(monkeypatch, tmp_path / "home")
    wheel = write_wheel(tmp_path, Package("own", "1.0+cpu", requires=["alpha"]))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    blob = bench.root / "blobs" / digest[:2] / digest
    blob.parent.mkdir(parents=True)
    wheel.replace(blob)
    reference = f"own @ mltrain-wheel:{digest}/{wheel.name}"
    with package_index(tmp_path / "index", credentials=_SECRET) as index:
        index.add("alpha", "1.0")
        request = environment_request(reference)
        request["recipe"] = recipe(reference, index={"url": index.url})
        job = job_folder(bench, request)

        secrets = json.dumps({"indexes": {"127.0.0.1": _SECRET}}).encode()

        # when
        code, log = run_builder(job, _RealInstaller(find_tools()), capfd, secrets)

    # then
    assert code == 0, log
    lease = bench.cache.find(request)
    assert lease is not None
    alpha, own = lease.resolved["packages"]
    assert alpha.startswith("alpha==1.0 --hash=sha256:")
    assert own.startswith(reference)
    assert str(bench.root) not in str(lease.resolved)
    subprocess.run([Path(lease.tree) / "bin" / "python", "-c", "import alpha, own"], check=True)
    assert _SECRET[1] not in log
    lease.close()


class _RealInstaller:
    """The installer that travels to targets, on a machine that has these tools alone."""

    resolve = staticmethod(installation.resolve)
    build = staticmethod(installation.build)

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def find_tools(self, brought_uv: str | None) -> Tools:
        assert brought_uv is None
        return self._tools
