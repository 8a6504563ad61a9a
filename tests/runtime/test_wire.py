"""The frames that a job agent and its askers exchange, and streams that are none."""

from __future__ import annotations

import os
import random
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mltrain.runtime.job_agent.wire import Frame, FrameReader, FrameWriter, Kind, WireError

_MEBIBYTE = 1024 * 1024
_frames = st.builds(
    Frame,
    st.sampled_from(Kind),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=50) | st.binary(max_size=5).map(lambda some: some * 2000),
)


class Pieces:
    """A stream that gives what it has in pieces, and notes the most it was asked for."""

    def __init__(self, *pieces: bytes) -> None:
        self.most_asked = 0
        self._pieces = list(pieces)

    def receive(self, count: int) -> bytes:
        self.most_asked = max(self.most_asked, count)
        if not self._pieces:
            return b""
        piece = self._pieces.pop(0)
        if len(piece) > count:
            self._pieces.insert(0, piece[count:])
        return piece[:count]


@pytest.fixture
def quick_switches() -> Iterator[None]:
    """Threads that take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@given(frames=st.lists(_frames, max_size=8), seed=st.randoms(use_true_random=False))
def test_frames_arrive_as_they_were_sent_however_the_stream_is_split(
    frames: list[Frame], seed: random.Random
) -> None:
    # given
    sent = _encoded(*frames)
    cuts = sorted(seed.randrange(len(sent) + 1) for _ in range(seed.randrange(20)))
    ends = zip([0, *cuts], [*cuts, len(sent)], strict=True)
    pieces = [sent[start:end] for start, end in ends if end > start]

    # when
    came = list(iter(FrameReader(Pieces(*pieces).receive).read, None))

    # then
    assert came == frames


@given(noise=st.binary(max_size=300))
def test_what_is_no_frame_is_refused_and_nothing_else_happens(noise: bytes) -> None:
    # given
    stream = Pieces(noise)
    reader = FrameReader(stream.receive)

    # when
    try:
        while reader.read() is not None:
            pass
    except WireError as error:
        words = str(error)
    else:
        words = "not a frame: it ended"

    # then
    assert "frame" in words
    assert stream.most_asked <= 16 * _MEBIBYTE


@given(frame=_frames, cut=st.integers(1, 200))
def test_a_stream_that_ends_within_a_frame_has_ended(frame: Frame, cut: int) -> None:
    # given
    sent = _encoded(frame)[:-cut]

    # when
    came = FrameReader(Pieces(sent).receive).read()

    # then
    assert came is None


def test_a_reader_begins_with_what_was_received_before_it() -> None:
    # given
    sent = _encoded(Frame(Kind.ANSWER, 7, b"42"))

    # when
    came = FrameReader(Pieces(sent[4:]).receive, sent[:4]).read()

    # then
    assert came == Frame(Kind.ANSWER, 7, b"42")


@pytest.mark.parametrize(
    "header",
    [
        b"\x02\x00" + bytes(4) + b"\xff\xff\xff\xff",
        b"\x02\x00" + bytes(4) + b"\x01\x00\x00\x01",
        b"\x00\x00" + bytes(8),
        b"\x08\x00" + bytes(8),
        b"\x02\x02" + bytes(8),
    ],
    ids=["4 GiB", "a byte over 16 MiB", "kind 0", "kind 8", "an unknown flag"],
)
def test_a_header_that_cannot_be_is_refused_before_its_payload_comes(header: bytes) -> None:
    # given
    stream = Pieces(header, b"x" * 100)

    # when
    with pytest.raises(WireError, match="not a frame"):
        FrameReader(stream.receive).read()

    # then
    assert stream.most_asked < _MEBIBYTE


def test_a_frame_that_swells_without_end_is_refused_in_bounded_memory() -> None:
    # given
    bomb = zlib.compress(bytes(100 * _MEBIBYTE))
    stream = Pieces(_header(len(bomb)) + bomb)
    reader = FrameReader(stream.receive)
    tracemalloc.start()

    # when
    with pytest.raises(WireError, match="more than it may"):
        reader.read()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # then
    assert peak < 48 * _MEBIBYTE


@pytest.mark.parametrize(
    "payload",
    [b"", b"not deflated", zlib.compress(b"whole")[:-1], zlib.compress(b"whole") + b"more"],
    ids=["empty", "noise", "cut", "with something behind it"],
)
def test_a_damaged_frame_is_refused(payload: bytes) -> None:
    # given
    stream = Pieces(_header(len(payload)) + payload)

    # when
    with pytest.raises(WireError) as refusal:
        FrameReader(stream.receive).read()

    # then
    assert "damaged frame" in str(refusal.value)


@pytest.mark.usefixtures("quick_switches")
def test_frames_of_many_threads_do_not_mix() -> None:
    # given
    stream = bytearray()

    def write_slowly(content: bytes) -> None:
        for start in range(0, len(content), 7):
            stream.extend(content[start : start + 7])

    writer = FrameWriter(write_slowly)

    def send_some(number: int) -> None:
        for count in range(60):
            writer.send(Kind.PART, number, b"%d:" % count * (10 + count))

    # when
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(send_some, range(6)))

    # then
    came = list(iter(FrameReader(Pieces(bytes(stream)).receive).read, None))
    expected = [b"%d:" % count * (10 + count) for count in range(60)]
    by_thread = [[one.payload for one in came if one.request == number] for number in range(6)]
    assert by_thread == [expected] * 6


def test_a_slow_stream_carries_deflated_frames() -> None:
    # given
    payloads = [os.urandom(30_000).hex().encode() for _ in range(12)]

    # when
    sent = _sent(payloads, lambda content: time.sleep(len(content) / 2e6))

    # then
    assert sent < 0.65 * sum(map(len, payloads))


def test_a_fast_stream_is_not_held_up_by_deflating() -> None:
    # given
    payloads = [os.urandom(30_000).hex().encode()] * 200

    # when
    sent = _sent(payloads, lambda _: None)

    # then
    assert sent > 0.85 * sum(map(len, payloads))


def test_what_cannot_be_deflated_goes_as_it_is_on_a_slow_stream_too() -> None:
    # given
    payloads = [os.urandom(20_000) for _ in range(12)]

    # when
    sent = _sent(payloads, lambda content: time.sleep(len(content) / 5e6))

    # then
    headers = 10 * len(payloads)
    assert sent == sum(map(len, payloads)) + headers


def _encoded(*frames: Frame) -> bytes:
    sent = bytearray()
    writer = FrameWriter(sent.extend)
    for frame in frames:
        writer.send(*frame)
    return bytes(sent)


def _header(length: int) -> bytes:
    return bytes([Kind.PART, True]) + bytes(4) + length.to_bytes(4, "big")


def _sent(payloads: list[bytes], wait: Callable[[bytes], None]) -> int:
    """How many bytes went over a stream that takes that long, all of them readable."""
    sent = bytearray()

    def write(content: bytes) -> None:
        wait(content)
        sent.extend(content)

    writer = FrameWriter(write)
    for payload in payloads:
        writer.send(Kind.PART, 1, payload)
    reader = FrameReader(Pieces(bytes(sent)).receive)
    assert [frame.payload for frame in iter(reader.read, None)] == payloads
    return len(sent)
