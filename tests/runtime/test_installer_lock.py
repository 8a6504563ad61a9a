"""Locks: exactly what was resolved is installed, by uv and by pip, whatever came since."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path
from urllib.parse import quote

import pytest

from airflow_mltrain.runtime.job_agent.installer import pip
from tests.services.installation import (
    BOTH,
    PIP,
    FindTools,
    Machine,
    base_python,
    find_uv,
    recipe,
)
from tests.services.package_index import Package, PackageIndex, write_wheel


@BOTH
def test_a_package_from_git_is_locked_to_its_commit(
    index: PackageIndex, machine: Machine, find_tools: FindTools
) -> None:
    # given
    index.add_sdist("source", "1.0")
    with tarfile.open(index.folder / "source-1.0.tar.gz") as archive:
        archive.extractall(machine.folder, filter="data")
    repository = machine.folder / "source-1.0"
    commit = commit_all(repository)
    url = f"git+file://localhost{quote(str(repository))}"  # pip wants a host
    asked = recipe("alpha", f"source @ {url}", index={"url": index.url})
    first = machine.install(asked, find_tools())
    (repository / "backend.py").write_text("raise SystemExit('newer')")
    commit_all(repository)

    # when
    again = machine.install(asked, find_tools(), first.lock)

    # then
    assert first.lock["packages"][-1] == f"source @ {url}@{commit}"
    assert again.packages == first.packages == ["alpha==1.0", "beta==2.1", "source==1.0"]


def commit_all(repository: Path) -> str:
    who = ["-c", "user.name=tester", "-c", "user.email=tester@example.org"]
    commands = [["init", "--quiet"], ["add", "."], [*who, "commit", "--quiet", "-m", "change"]]
    for command in commands:
        subprocess.run(["git", "-C", str(repository), *command], check=True)
    show = ["git", "-C", str(repository), "rev-parse", "HEAD"]
    return subprocess.run(show, check=True, capture_output=True, text=True).stdout.strip()


def test_a_pip_that_writes_no_report_is_asked_afterwards(
    index: PackageIndex, machine: Machine
) -> None:
    # given
    wheel = write_wheel(machine.folder, Package("Our.Own", "1.0", requires=["beta"]))
    asked = recipe(f"Our.Own @ {wheel.as_uri()}", "alpha", index={"url": index.url})
    machine.work.mkdir()
    tree, work = str(machine.folder / "tree"), str(machine.work)
    pip.make(tree, base_python(), work)
    old = pip.find_pip(base_python(), work)._replace(version=(20, 0))

    # when
    packages = old.install(tree, asked)

    # then
    assert packages == ["alpha==1.0", "beta==2.1", f"our-own @ {wheel.as_uri()}"]


def test_pip_installs_what_uv_resolved(index: PackageIndex, machine: Machine) -> None:
    # given
    asked = recipe("alpha", index={"url": index.url})
    by_uv = machine.install(asked, find_uv())

    # when
    by_pip = machine.install(asked, PIP, by_uv.lock)

    # then
    assert by_pip.lock == by_uv.lock
    assert by_pip.packages == by_uv.packages == ["alpha==1.0", "beta==2.1"]


@BOTH
def test_a_lock_gives_the_same_after_newer_versions_came(
    index: PackageIndex, machine: Machine, find_tools: FindTools
) -> None:
    # given
    asked = recipe("alpha", index={"url": index.url})
    first = machine.install(asked, find_tools())
    index.add("beta", "2.2")

    # when
    again = machine.install(asked, find_tools(), first.lock)

    # then
    assert again.lock == first.lock
    assert again.packages == ["alpha==1.0", "beta==2.1"]


@BOTH
@pytest.mark.parametrize("is_hashed", [True, False])
def test_a_lock_is_installed_as_it_is_whatever_its_packages_ask_for(
    index: PackageIndex, machine: Machine, find_tools: FindTools, *, is_hashed: bool
) -> None:
    # given
    digest = index.add("alpha", "1.0", requires=["beta>=2"])
    line = f"alpha==1.0 --hash=sha256:{digest}" if is_hashed else "alpha==1.0"
    lock = {"packages": [line], "conda": []}

    # when
    done = machine.install(recipe("alpha", index={"url": index.url}), find_tools(), lock)

    # then
    assert done.lock == lock
    assert done.packages == ["alpha==1.0"]


@BOTH
def test_packages_without_a_hash_go_with_others_that_have_one(
    index: PackageIndex, machine: Machine, find_tools: FindTools
) -> None:
    # given
    asked = recipe("alpha", index={"url": index.url})
    (alpha, beta) = machine.install(asked, find_tools()).lock["packages"]
    lock = {"packages": [alpha.partition(" ")[0], beta], "conda": []}

    # when
    done = machine.install(asked, find_tools(), lock)

    # then
    assert done.packages == ["alpha==1.0", "beta==2.1"]


@BOTH
def test_a_list_with_hashes_is_its_own_lock(
    index: PackageIndex, machine: Machine, find_tools: FindTools
) -> None:
    # given
    digest = index.add("gamma", "1.0")
    index.add("gamma", "1.1")
    line = f"gamma==1.0 --hash=sha256:{digest}"

    # when
    done = machine.install(recipe(line, index={"url": index.url}), find_tools())

    # then
    assert done.lock == {"packages": [line], "conda": []}
    assert done.packages == ["gamma==1.0"]
