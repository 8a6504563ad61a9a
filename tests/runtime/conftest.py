"""A machine of its own for each test of what runs on a target."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_mltrain.runtime.job_agent.folder import JobFolder
from tests.services.environment_cache import CacheBench, environment_request, job_folder


@pytest.fixture
def bench(tmp_path: Path) -> CacheBench:
    """An environment cache that is empty, in a folder that no shell should see."""
    return CacheBench(tmp_path / "root; it's a 'hostile' one")


@pytest.fixture
def job(bench: CacheBench) -> JobFolder:
    """A job whose environment, of the package alpha, is not built yet."""
    return job_folder(bench, environment_request("alpha"))
