"""Environments with conda packages, against a stand-in for micromamba: no real one is tried."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_mltrain.runtime.job_agent.installer import installation
from airflow_mltrain.runtime.job_agent.installer.installation import InstallError
from tests.fakes import fake_micromamba
from tests.services.installation import (
    BOTH,
    PIP,
    FindTools,
    Machine,
    find_uv,
    recipe,
)
from tests.services.package_index import PackageIndex, package_index

_CONDA = {"packages": ["python=3.11.7", "numpy=1.26"], "channels": ["conda-forge", "other"]}


@pytest.fixture
def conda(tmp_path: Path) -> str:
    program = tmp_path / "bin" / "micromamba"
    program.parent.mkdir()
    argv = [sys.executable, fake_micromamba.__file__]
    program.write_text(f'#!/bin/sh\nexec {shlex.join(argv)} "$@"\n')
    program.chmod(0o755)
    return str(program)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    with package_index(tmp_path / "index") as index:
        index.add("alpha", "1.0", requires=["numpy>=1.20"])
        index.add("numpy", "2.0")
        yield index


def asked_of(index: PackageIndex, *packages: str, **conda_facts: Any) -> dict[str, Any]:
    return recipe(*packages, index={"url": index.url}, conda={**_CONDA, **conda_facts})


@BOTH
def test_packages_of_an_index_join_those_of_a_stand_in_for_conda(
    index: PackageIndex, machine: Machine, conda: str, find_tools: FindTools
) -> None:
    # given
    tools = find_tools()._replace(conda=conda)

    # when
    done = machine.install(asked_of(index, "alpha"), tools)

    # then
    assert {"alpha==1.0", "numpy==1.26"} <= set(done.packages)
    assert [line.partition(" ")[0] for line in done.lock["packages"]] == ["alpha==1.0"]
    names = [url.rpartition("/")[2] for url in done.lock["conda"]]
    md5 = "0" * 32
    assert names == [
        f"zlib-1.3-h0_0.conda#{md5}",
        f"python-3.11.7-h0_0.conda#{md5}",
        f"numpy-1.26-h0_0.conda#{md5}",
    ]


def test_a_lock_of_a_stand_in_for_conda_gives_the_same(
    index: PackageIndex, machine: Machine, conda: str
) -> None:
    # given
    tools = find_uv()._replace(conda=conda)
    asked = asked_of(index, "alpha")
    first = machine.install(asked, tools)
    index.add("alpha", "1.1")

    # when
    again = machine.install(asked, tools, first.lock)

    # then
    assert dataclasses.replace(again, tree=first.tree) == first
    assert again.packages == first.packages


def test_tokens_of_channels_are_in_no_lock(
    index: PackageIndex, machine: Machine, conda: str
) -> None:
    # given
    tools = PIP._replace(conda=conda)

    # when
    done = machine.install(asked_of(index, channels=["private"]), tools)

    # then
    assert "https://conda.example.org/private/linux-64/zlib" in str(done.lock)
    assert "token" not in str(done.lock)


def test_what_conda_complains_of_comes_first(
    index: PackageIndex, machine: Machine, conda: str
) -> None:
    # given
    tools = PIP._replace(conda=conda)

    # when, then
    with pytest.raises(InstallError, match=r"(?s)^error    libmamba .*no-such.*channels"):
        machine.install(asked_of(index, packages=["python=3.11", "no-such"]), tools)


def test_conda_packages_without_a_python_are_refused(
    index: PackageIndex, machine: Machine, conda: str
) -> None:
    # given
    tools = PIP._replace(conda=conda)

    # when, then
    with pytest.raises(InstallError, match="bring no Python"):
        machine.install(asked_of(index, packages=["zlib=1.3"]), tools)


def test_a_machine_without_conda_says_what_to_do(index: PackageIndex, machine: Machine) -> None:
    # given
    asked = asked_of(index, "alpha")

    # when, then
    with pytest.raises(InstallError, match=r"python=3\.11\.7, numpy=1\.26: install micromamba"):
        machine.install(asked, PIP)
    assert installation.resolve(asked, "", str(machine.folder), PIP) is None
