"""Blobs on their way to a machine: only what it lacks, and once, however often it is cut."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from airflow_mltrain.errors import TargetUnreachableError
from airflow_mltrain.runtime.job_agent.intake import LARGE_BYTES
from tests.services.fragile_agent import FragileAgents, FragileStream
from tests.services.mount import small_disk_at

MakeBlob = Callable[[bytes], tuple[str, Path]]

_MEGABYTE = 1_000_000
_DISK_BYTES = 20 * _MEGABYTE
# What may have left here without being on the far disk when the agent is killed.
_UNDER_WAY_BYTES = 16 * 256 * 1024 + 2 * _MEGABYTE


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def agents(root: Path) -> Iterator[FragileAgents]:
    with FragileAgents(root) as agents:
        yield agents


@pytest.fixture
def make_blob(tmp_path: Path) -> MakeBlob:
    """Makes a file with some content, under its digest."""

    def make(content: bytes) -> tuple[str, Path]:
        digest = sha256(content).hexdigest()
        path = tmp_path / "store" / digest
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return digest, path

    return make


@pytest.fixture
def small_disk(root: Path) -> Iterator[Path]:
    with small_disk_at(root, _DISK_BYTES):
        yield root


def test_only_what_a_machine_lacks_is_missing(agents: FragileAgents, make_blob: MakeBlob) -> None:
    # given
    target = agents.place().target()
    digests = {sha256(b"%d" % number).hexdigest() for number in range(20_000)}
    there = dict(make_blob(b"%d" % number) for number in range(5))

    # when
    before = target.missing(digests)
    target.upload(there)
    after = target.missing(digests)

    # then
    assert before == digests
    assert after == digests - set(there)


def test_thousands_of_small_blobs_arrive(
    root: Path, agents: FragileAgents, make_blob: MakeBlob
) -> None:
    # given
    target = agents.place().target()
    blobs = dict(make_blob(b"%d" % number * number) for number in range(2000))

    # when
    target.upload(blobs)

    # then
    assert all(_stored(root, digest) == path.read_bytes() for digest, path in blobs.items())
    assert target.missing(blobs) == set()


@pytest.mark.parametrize("size", [0, 1, LARGE_BYTES - 1, LARGE_BYTES, LARGE_BYTES + 1])
def test_a_blob_of_any_size_arrives(
    root: Path,
    agents: FragileAgents,
    make_blob: MakeBlob,
    size: int,
) -> None:
    # given
    target = agents.place().target()
    digest, path = make_blob(os.urandom(size))

    # when
    target.upload({digest: path})

    # then
    assert _stored(root, digest) == path.read_bytes()


def test_a_large_blob_that_is_cut_twice_goes_on_where_it_was(
    root: Path, agents: FragileAgents, make_blob: MakeBlob
) -> None:
    # given
    digest, path = make_blob(os.urandom(40 * _MEGABYTE))
    agent = agents.place(_cut_after(15 * _MEGABYTE), _cut_after(15 * _MEGABYTE))

    # when
    agent.target().upload({digest: path})

    # then
    assert _stored(root, digest) == path.read_bytes()
    assert list(root.glob("blobs/partial/*")) == []
    assert len(agent.sent) == 3
    assert sum(agent.sent) < 40 * _MEGABYTE + 2 * _UNDER_WAY_BYTES


def test_small_blobs_that_are_cut_are_not_all_sent_again(
    root: Path, agents: FragileAgents, make_blob: MakeBlob
) -> None:
    # given
    blobs = dict(make_blob(os.urandom(100_000)) for _ in range(200))
    agent = agents.place(_cut_after(15 * _MEGABYTE))

    # when
    agent.target().upload(blobs)

    # then
    assert all(_stored(root, digest) == path.read_bytes() for digest, path in blobs.items())
    assert sum(agent.sent) < 20 * _MEGABYTE + _UNDER_WAY_BYTES


def test_an_upload_that_began_in_a_process_that_died_goes_on(
    root: Path, agents: FragileAgents, make_blob: MakeBlob
) -> None:
    # given
    digest, path = make_blob(os.urandom(20 * _MEGABYTE))
    dying = agents.place(_cut_after(15 * _MEGABYTE), _cut_after(1), _cut_after(1))
    with pytest.raises(TargetUnreachableError):
        dying.target().upload({digest: path})
    agent = agents.place()

    # when
    agent.target().upload({digest: path})

    # then
    assert _stored(root, digest) == path.read_bytes()
    assert agent.sent[0] < 5 * _MEGABYTE + _UNDER_WAY_BYTES


def test_what_a_power_cut_left_of_a_large_blob_does_no_harm(
    root: Path, agents: FragileAgents, make_blob: MakeBlob
) -> None:
    # given
    digest, path = make_blob(os.urandom(3 * _MEGABYTE))
    partial = root / "blobs" / "partial" / digest
    partial.parent.mkdir(parents=True)
    partial.write_bytes(bytes(2 * _MEGABYTE))
    target = agents.place().target()

    # when
    target.upload({digest: path})

    # then
    assert _stored(root, digest) == path.read_bytes()
    assert not partial.exists()


def test_two_who_bring_the_same_large_blob_at_once_both_succeed(
    root: Path, agents: FragileAgents, make_blob: MakeBlob
) -> None:
    # given
    digest, path = make_blob(os.urandom(20 * _MEGABYTE))
    targets = [agents.place().target() for _ in range(4)]

    # when
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda target: target.upload({digest: path}), targets))

    # then
    assert _stored(root, digest) == path.read_bytes()
    assert list(root.glob("blobs/partial/*")) == []


def test_a_full_disk_is_named_and_left_as_it_was(
    small_disk: Path,
    agents: FragileAgents,
    make_blob: MakeBlob,
) -> None:
    # given
    small = dict(make_blob(os.urandom(_MEGABYTE)) for _ in range(3))
    digest, path = make_blob(os.urandom(_DISK_BYTES))
    target = agents.place().target()

    # when
    with pytest.raises(TargetUnreachableError, match="No space left") as refusal:
        target.upload({digest: path})
    target.upload(small)

    # then
    assert f"cannot use its root folder {small_disk}" in str(refusal.value)
    assert target.missing([digest, *small]) == {digest}
    assert list(small_disk.glob("blobs/partial/*")) == []


def test_a_blob_that_is_gone_here_is_said_to_be(agents: FragileAgents, tmp_path: Path) -> None:
    # given
    target = agents.place().target()
    digest = sha256(b"").hexdigest()

    # when
    with pytest.raises(FileNotFoundError, match="gone"):
        target.upload({digest: tmp_path / "gone"})

    # then
    assert target.missing([digest]) == {digest}


def _cut_after(sent: int) -> Callable[[str], FragileStream]:
    return lambda line: FragileStream(line, most_sent=sent)


def _stored(root: Path, digest: str) -> bytes:
    return (root / "blobs" / digest[:2] / digest).read_bytes()
