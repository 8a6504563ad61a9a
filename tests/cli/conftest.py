"""What a person at a terminal has: a workspace below `AIRFLOW_HOME`, and a package index."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_mltrain import Environment, Workspace
from tests.services.package_index import PackageIndex, package_index


@pytest.fixture
def workspace(airflow_home: Path) -> Workspace:
    assert not airflow_home.exists()
    return Workspace.from_config()


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    """Offers alpha 1.0, which needs beta."""
    with package_index(tmp_path / "index") as index:
        index.add("alpha", "1.0", requires=["beta"])
        index.add("beta", "1.0")
        yield index


@pytest.fixture
def tiny(workspace: Workspace, index: PackageIndex) -> Environment:
    """The registered environment `tiny`, whose packages are there."""
    return register(workspace, index, "tiny", "alpha")


@pytest.fixture
def small(workspace: Workspace, index: PackageIndex) -> Environment:
    """The registered environment `small`, which is another one than `tiny`."""
    return register(workspace, index, "small", "beta")


def register(workspace: Workspace, index: PackageIndex, name: str, *packages: str) -> Environment:
    python = {"packages": list(packages), "index": {"url": index.url}}
    return Environment(name, python=python).register(workspace)
