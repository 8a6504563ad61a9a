"""Where uv keeps what it downloaded: for the next environment, if the machine has room for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.installation import Machine, find_uv, forget_configuration, recipe
from tests.services.package_index import PackageIndex, package_index


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    forget_configuration(monkeypatch, tmp_path / "home")
    return Machine(tmp_path)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    with package_index(tmp_path / "index") as index:
        index.add("alpha", "1.0", requires=["beta"])
        index.add("beta", "2.1")
        yield index


@pytest.mark.parametrize(
    "variables",
    [
        {"HOME": "/dev/null/x"},
        {"UV_CACHE_DIR": "/proc/nope", "UV_LINK_MODE": "symlink"},
        {"XDG_CACHE_HOME": "/proc/nope"},
    ],
    ids=["home", "chosen", "xdg"],
)
def test_a_machine_that_lets_nobody_keep_a_cache_has_environments_all_the_same(
    index: PackageIndex,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
) -> None:
    # given
    tools = find_uv()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    work = machine.work

    # when
    done = machine.install(recipe("alpha", index={"url": index.url}), tools)
    shutil.rmtree(work)

    # then
    assert done.packages == ["alpha==1.0", "beta==2.1"]
    assert done.run("python", "-c", "import alpha, beta; print('there')") == "there\n"


def test_a_cache_that_can_be_kept_is_kept(
    index: PackageIndex, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    tools, work = find_uv(), machine.work
    monkeypatch.setenv("UV_CACHE_DIR", str(machine.folder / "kept"))

    # when
    machine.install(recipe("beta", index={"url": index.url}), tools)

    # then
    assert list((machine.folder / "kept").iterdir())
    assert not (work / "cache").exists()
