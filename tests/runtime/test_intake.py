"""Blobs that arrive at a machine: whole or not at all, and resumed where they were cut."""

from __future__ import annotations

import os
import queue
import random
import threading
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mltrain.runtime.job_agent.intake import ANEW, BLOB_HEADER, LARGE_BYTES, BlobIntake
from tests.services.mount import small_disk_at

_LARGE = random.Random(1).randbytes(3 * LARGE_BYTES)  # noqa: S311
_DISK_BYTES = 6 * 1024 * 1024


class Uploader:
    """Somebody who sends a body piece by piece, when the test says so."""

    def __init__(self, intake: BlobIntake) -> None:
        self.again: list[str] = []
        self._pieces: queue.Queue[bytes | None] = queue.Queue(1)
        self._thread = threading.Thread(target=self._take, args=(intake,))
        self._thread.start()

    def send(self, piece: bytes) -> None:
        """Send a piece; returns once those before it were taken."""
        self._pieces.put(piece)
        self._pieces.put(b"")

    def end(self) -> None:
        """End the body, and wait until it was answered."""
        self._pieces.put(None)
        self._thread.join()

    def _take(self, intake: BlobIntake) -> None:
        self.again = intake.take(iter(self._pieces.get, None))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "root" / "blobs"


@pytest.fixture
def intake(folder: Path) -> BlobIntake:
    return BlobIntake(str(folder))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The folder of blobs, on a disk that a large one fills."""
    disk = tmp_path / "disk"
    with small_disk_at(disk, _DISK_BYTES):
        yield disk / "blobs"


@given(
    contents=st.lists(st.binary(max_size=300), max_size=12),
    seed=st.randoms(use_true_random=False),
)
def test_blobs_are_stored_however_their_stream_is_split(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes], seed: random.Random
) -> None:
    # given
    folder = tmp_path_factory.mktemp("blobs")
    body = b"".join(map(_whole, contents))
    cuts = sorted(seed.randrange(len(body) + 1) for _ in range(seed.randrange(30)))
    ends = zip([0, *cuts], [*cuts, len(body)], strict=True)

    # when
    again = BlobIntake(str(folder)).take(body[start:end] for start, end in ends)

    # then
    assert again == []
    assert _stored(folder) == {_digest(content): content for content in contents}


def test_a_blob_without_content_is_stored(intake: BlobIntake, folder: Path) -> None:
    # when
    intake.take(iter([_whole(b"")]))

    # then
    assert _stored(folder) == {_digest(b""): b""}


def test_a_blob_that_is_there_may_come_again(intake: BlobIntake, folder: Path) -> None:
    # given
    intake.take(iter([_whole(b"model"), _whole(_LARGE)]))

    # when
    again = intake.take(iter([_whole(b"model"), _whole(_LARGE)]))

    # then
    assert again == []
    assert _stored(folder) == {_digest(b"model"): b"model", _digest(_LARGE): _LARGE}


@pytest.mark.parametrize("begin", [0, ANEW], ids=["from its begin", "anew"])
@pytest.mark.parametrize("content", [b"model", _LARGE], ids=["small", "large"])
def test_a_blob_that_arrives_damaged_is_refused_and_leaves_nothing(
    intake: BlobIntake, folder: Path, content: bytes, begin: int
) -> None:
    # given
    header = BLOB_HEADER.pack(bytes.fromhex(_digest(content)), begin, len(content))
    damaged = b"M" + content[1:]

    # when
    with pytest.raises(OSError, match=f"{_digest(content)} arrived damaged"):
        intake.take(iter([header, damaged]))

    # then
    assert _stored(folder) == {}
    assert _begun(folder) == {}


def test_a_damaged_blob_takes_none_of_those_before_it_along(
    intake: BlobIntake, folder: Path
) -> None:
    # given
    header = BLOB_HEADER.pack(bytes(32), 0, 3)

    # when
    with pytest.raises(OSError, match="damaged"):
        intake.take(iter([_whole(b"first"), header, b"bad", _whole(b"last")]))

    # then
    assert _stored(folder) == {_digest(b"first"): b"first"}


@pytest.mark.parametrize("cut", [1, BLOB_HEADER.size, BLOB_HEADER.size + 2])
def test_a_small_blob_that_was_cut_leaves_nothing(
    intake: BlobIntake, folder: Path, cut: int
) -> None:
    # when
    with pytest.raises(OSError, match="cut"):
        intake.take(iter([_whole(b"model")[:cut]]))

    # then
    assert _stored(folder) == {}
    assert _begun(folder) == {}


def test_a_large_blob_goes_on_where_it_was_cut(intake: BlobIntake, folder: Path) -> None:
    # given
    digest = _digest(_LARGE)
    with pytest.raises(OSError, match="cut"):
        intake.take(iter([_whole(_LARGE)[: BLOB_HEADER.size + 2_000_000]]))
    assert intake.begun([digest, _digest(b"other")]) == {digest: 2_000_000}
    assert _stored(folder) == {}

    # when
    again = intake.take(iter([_rest(_LARGE, 2_000_000)]))

    # then
    assert again == []
    assert _stored(folder) == {digest: _LARGE}
    assert _begun(folder) == {}


def test_a_begun_part_may_be_longer_than_what_is_gone_on_from(
    intake: BlobIntake, folder: Path
) -> None:
    # given
    _begin(folder, _LARGE, _LARGE[:1_000_000] + b"not yet on disk when it was asked for")

    # when
    again = intake.take(iter([_rest(_LARGE, 1_000_000)]))

    # then
    assert again == []
    assert _stored(folder) == {_digest(_LARGE): _LARGE}


@pytest.mark.parametrize(
    ("part", "begin"),
    [
        (bytes(1_000_000), 1_000_000),
        (_LARGE + b"more", len(_LARGE) - 1),
        (bytes(len(_LARGE) + 5), len(_LARGE)),
        (b"", 1_000_000),
        (None, 1_000_000),
    ],
    ids=["with a hole", "longer than the blob", "longer and all holes", "empty", "gone"],
)
def test_what_cannot_be_gone_on_with_is_asked_for_from_its_start(
    intake: BlobIntake, folder: Path, part: bytes | None, begin: int
) -> None:
    # given
    if part is not None:
        _begin(folder, _LARGE, part)

    # when
    again = intake.take(iter([_rest(_LARGE, begin), _whole(b"next")]))
    intake.take(_anew(_LARGE) for _ in again)

    # then
    assert _stored(folder) == {_digest(_LARGE): _LARGE, _digest(b"next"): b"next"}


def test_a_blob_that_begins_behind_its_end_is_refused(intake: BlobIntake, folder: Path) -> None:
    # given
    header = BLOB_HEADER.pack(bytes(32), 2**40, 2**30)

    # when
    with pytest.raises(OSError, match="behind its end"):
        intake.take(iter([header, b"more"]))

    # then
    assert _stored(folder) == {}


def test_who_comes_second_with_a_large_blob_is_told_to_send_it_anew(
    intake: BlobIntake, folder: Path
) -> None:
    # given
    first = Uploader(intake)
    first.send(_whole(_LARGE)[:1_500_000])

    # when
    again = intake.take(iter([_whole(_LARGE)]))
    others = intake.take(iter([_anew(_LARGE)]))
    stored_by_second = _stored(folder)
    first.send(_whole(_LARGE)[1_500_000:])
    first.end()

    # then
    assert (again, others, first.again) == ([_digest(_LARGE)], [], [])
    assert stored_by_second == _stored(folder) == {_digest(_LARGE): _LARGE}
    assert _begun(folder) == {}


def test_a_full_disk_leaves_no_half_blob_and_the_room_it_took(small_disk: Path) -> None:
    # given
    content = os.urandom(_DISK_BYTES + 1)
    intake = BlobIntake(str(small_disk))

    # when
    with pytest.raises(OSError, match="No space left"):
        intake.take(iter([_whole(content)]))
    again = intake.take(iter([_whole(_LARGE)]))

    # then
    assert again == []
    assert _stored(small_disk) == {_digest(_LARGE): _LARGE}
    assert _begun(small_disk) == {}


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def _whole(content: bytes) -> bytes:
    return _rest(content, 0)


def _anew(content: bytes) -> bytes:
    return BLOB_HEADER.pack(sha256(content).digest(), ANEW, len(content)) + content


def _rest(content: bytes, begin: int) -> bytes:
    return BLOB_HEADER.pack(sha256(content).digest(), begin, len(content)) + content[begin:]


def _begin(folder: Path, content: bytes, part: bytes) -> None:
    path = folder / "partial" / _digest(content)
    path.parent.mkdir(parents=True)
    path.write_bytes(part)


def _stored(folder: Path) -> dict[str, bytes]:
    return _contents(path for path in folder.glob("??/*") if path.parent.name == path.name[:2])


def _begun(folder: Path) -> dict[str, bytes]:
    return _contents(folder.glob("partial/*"))


def _contents(paths: Iterable[Path]) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in paths}
