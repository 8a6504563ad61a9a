from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from airflow_mltrain.task_log import LineReader, as_messages


def read(pieces: list[bytes]) -> list[str]:
    reader = LineReader()
    lines = [line for piece in pieces for line in reader.feed(piece)]
    return lines + list(reader.flush())


def test_lines_are_cut_at_every_kind_of_line_end() -> None:
    assert read([b"one\ntwo\r\nthree\rfour\n\nfive"]) == [
        "one",
        "two",
        "three",
        "four",
        "",
        "five",
    ]


def test_a_line_end_that_is_cut_in_two_is_one_line_end() -> None:
    assert read([b"one\r", b"\ntwo\n"]) == ["one", "two"]


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    assert read([b"\xff\xfe\n"]) == ["\ufffd\ufffd"]


def test_a_character_that_is_cut_in_two_arrives_whole() -> None:
    assert read(["é".encode()[:1], "é".encode()[1:] + b"\n"]) == ["é"]


def test_a_line_that_never_ends_is_given_out_in_pieces_of_bounded_size() -> None:
    reader = LineReader()

    pieces = [line for _ in range(100) for line in reader.feed(b"x" * 10_000)]

    assert max(map(len, pieces)) <= 64 * 1024
    assert sum(map(len, pieces)) > 900_000
    assert reader.read_position == 1_000_000


@given(st.lists(st.binary(max_size=30)))
def test_how_the_bytes_are_cut_does_not_matter(pieces: list[bytes]) -> None:
    assert read(pieces) == read([b"".join(pieces)])


@given(st.lists(st.binary(max_size=30)), st.data())
def test_a_reader_that_starts_at_a_position_gives_out_the_rest(
    pieces: list[bytes], data: st.DataObject
) -> None:
    whole = b"".join(pieces)
    first = LineReader()
    stop = data.draw(st.integers(0, len(pieces)))
    before = [line for piece in pieces[:stop] for line in first.feed(piece)]

    second = LineReader(first.position)
    after = [*second.feed(whole[first.position :]), *second.flush()]

    assert before + after == read([whole])
    assert second.position == len(whole)


def test_few_lines_are_a_message_each() -> None:
    assert list(as_messages(["one", "", "three"])) == ["one", "", "three"]


def test_many_lines_share_messages_of_bounded_size() -> None:
    lines = [f"line {number}" for number in range(100_000)]

    messages = list(as_messages(lines))

    assert "\n".join(messages).split("\n") == lines
    assert len(messages) < 200
    assert max(map(len, messages)) <= 64 * 1024
