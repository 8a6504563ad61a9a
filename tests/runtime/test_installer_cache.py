"""Where uv keeps what it downloaded: for the next environment, if the machine has room for it."""

from __future__ import annotations

import shutil

import pytest

from tests.services.installation import Machine, find_uv, recipe
from tests.services.package_index import PackageIndex


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
