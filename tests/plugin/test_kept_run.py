"""What of a run's artifacts is read for its page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.plugin.kept_run import LOG_BYTES, read_end, read_kept_run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"\x1b[1;32mok\x1b[0m done", "ok done"),
        (b"\x1b]0;title\x07text", "text"),
        (b"epoch 1\n 10%\r 50%\r100%\nsaved\n\n", "epoch 1\n100%\nsaved"),
        (b"from windows\r\nnext\r\n", "from windows\nnext"),
        (b"50%\r", "50%"),
        (b"\xc3\xa9t\xe9", "\u00e9t\ufffd"),
        (b"", ""),
    ],
)
def test_a_log_reads_as_a_terminal_would_show_it(
    tmp_path: Path, written: bytes, shown: str
) -> None:
    # given
    log = tmp_path / "log"
    log.write_bytes(written)

    # when / then
    assert read_end(log) == shown


def test_the_end_of_a_long_log_begins_with_a_whole_line(tmp_path: Path) -> None:
    # given
    log = tmp_path / "log"
    log.write_bytes(b"a line\n" * LOG_BYTES)

    # when
    shown = read_end(log)

    # then
    assert set(shown.split("\n")) == {"a line"}
    assert LOG_BYTES - 10 < len(shown) <= LOG_BYTES


def test_a_log_without_lines_is_shown_all_the_same(tmp_path: Path) -> None:
    # given
    log = tmp_path / "log"
    log.write_bytes(b"\x1b[" * LOG_BYTES + b"." * LOG_BYTES)

    # when / then
    assert read_end(log) == "." * LOG_BYTES


def test_files_are_listed_with_their_folders_and_sizes(tmp_path: Path) -> None:
    # given
    (tmp_path / "outputs" / "plots").mkdir(parents=True)
    (tmp_path / "outputs" / "plots" / "roc.png").write_bytes(b"1234")
    (tmp_path / "log").write_bytes(b"12")

    # when
    kept = read_kept_run(tmp_path)

    # then
    listed = [(file.name, file.size_bytes) for file in kept.files]
    assert listed == [("log", 2), ("outputs/plots/roc.png", 4)]


def test_a_run_that_left_nothing_has_no_files(tmp_path: Path) -> None:
    assert read_kept_run(tmp_path / "nowhere").files == ()
