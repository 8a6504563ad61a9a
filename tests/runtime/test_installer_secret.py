"""Credentials of package indexes: they reach the index, and nobody else sees them."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from airflow_mltrain.runtime.job_agent.installer.installation import InstallError
from tests.services.installation import (
    BOTH,
    FindTools,
    Machine,
    recipe,
)
from tests.services.package_index import PackageIndex, package_index

_PASSWORD = "open-sesame-42"  # noqa: S105  # of a server that lives for a test


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    with package_index(tmp_path / "index", ("reader", _PASSWORD)) as index:
        index.add("alpha", "1.0", requires=["beta"])
        index.add("beta", "1.0")
        index.add_sdist("source", "1.0")
        yield index


@contextmanager
def watched_command_lines(seen: set[bytes]) -> Iterator[None]:
    """Fill `seen` with the command line of every process that is found during the block."""
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.002):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(path.read_bytes())
                except OSError:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()


@BOTH
def test_credentials_reach_the_index_and_no_command_line(
    index: PackageIndex,
    machine: Machine,
    find_tools: FindTools,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # given
    machine.write_netrc("127.0.0.1", "reader", _PASSWORD)
    seen: set[bytes] = set()

    # when
    with watched_command_lines(seen):
        done = machine.install(recipe("alpha", "source", index={"url": index.url}), find_tools())

    # then
    assert done.packages == ["alpha==1.0", "beta==1.0", "source==1.0"]
    assert [line for line in seen if b"tree 0" in line]
    assert not [line for line in seen if _PASSWORD.encode() in line]
    assert _PASSWORD not in "".join(capfd.readouterr())
    assert _PASSWORD not in str(done.lock)
    grep = subprocess.run(["grep", "-r", _PASSWORD, done.tree], check=False, stdout=-1)
    assert grep.stdout == b""


@BOTH
def test_without_credentials_the_index_is_said_to_refuse(
    index: PackageIndex, machine: Machine, find_tools: FindTools
) -> None:
    # given
    asked = recipe("alpha", index={"url": index.url})

    # when, then
    with pytest.raises(InstallError, match="alpha"):
        machine.install(asked, find_tools())
    assert {request.status for request in index.requests} == {401}


@BOTH
def test_credentials_in_the_machines_configuration_are_not_repeated(
    index: PackageIndex,
    machine: Machine,
    find_tools: FindTools,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # given
    monkeypatch.setenv("PIP_INDEX_URL", index.url_with_credentials)
    seen: set[bytes] = set()

    # when
    with watched_command_lines(seen):
        done = machine.install(recipe("alpha"), find_tools())
        with pytest.raises(InstallError) as caught:
            machine.install(recipe("none-such"), find_tools())

    # then
    assert done.packages == ["alpha==1.0", "beta==1.0"]
    assert not [line for line in seen if _PASSWORD.encode() in line]
    assert _PASSWORD not in "".join(capfd.readouterr())
    assert _PASSWORD not in f"{done.lock} {caught.value}"


@BOTH
def test_the_machines_own_netrc_holds_beside_the_one_that_came(
    index: PackageIndex,
    machine: Machine,
    find_tools: FindTools,
) -> None:
    # given
    own = f"machine 127.0.0.1 login reader password {_PASSWORD}\n"
    own += "default login nobody password nothing\n"
    (machine.folder / "home" / ".netrc").write_text(own)
    machine.write_netrc("packages.example.org", "other", "another-secret")

    # when
    done = machine.install(recipe("beta", index={"url": index.url}), find_tools())

    # then
    assert done.packages == ["beta==1.0"]


@BOTH
@pytest.mark.parametrize("own", ["machine 127.0.0.1 login x password old\n", "no such { thing"])
def test_credentials_that_came_hold_before_the_machines_own(
    index: PackageIndex, machine: Machine, find_tools: FindTools, own: str
) -> None:
    # given
    (machine.folder / "home" / ".netrc").write_text(own)
    machine.write_netrc("127.0.0.1", "reader", _PASSWORD)

    # when
    done = machine.install(recipe("beta", index={"url": index.url}), find_tools())

    # then
    assert done.packages == ["beta==1.0"]
