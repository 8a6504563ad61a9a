"""A machine of its own for each test of what runs on a target."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_mltrain.runtime.job_agent.folder import JobFolder
from tests.services.environment_cache import CacheBench, environment_request, job_folder
from tests.services.installation import Machine, forget_configuration
from tests.services.package_index import PackageIndex, package_index


@pytest.fixture
def bench(tmp_path: Path) -> CacheBench:
    """An environment cache that is empty, in a folder that no shell should see."""
    return CacheBench(tmp_path / "root; it's a 'hostile' one")


@pytest.fixture
def job(bench: CacheBench) -> JobFolder:
    """A job whose environment, of the package alpha, is not built yet."""
    return job_folder(bench, environment_request("alpha"))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine whose tools nobody has configured."""
    forget_configuration(monkeypatch, tmp_path / "home")
    return Machine(tmp_path)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    """Packages alpha and beta; alpha wants a beta that is not the oldest."""
    with package_index(tmp_path / "index") as index:
        index.add("alpha", "1.0", requires=["beta>=2"])
        index.add("beta", "1.9")
        index.add("beta", "2.0")
        index.add("beta", "2.1")
        index.add("beta", "3.0rc1")
        yield index
