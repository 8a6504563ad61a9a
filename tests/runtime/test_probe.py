"""Looking at a machine without failing, and without waiting for ever."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from airflow_mltrain.runtime.job_agent.probe import ProbeError, ask, look_at_all
from airflow_mltrain.runtime.job_agent.process import boot_id
from tests.services.jobs import wait_for


def test_what_hangs_or_fails_hides_nothing_else() -> None:
    # given
    never = threading.Event()

    def fail() -> None:
        raise ZeroDivisionError("by nought")

    # when
    found = look_at_all({"slow": never.wait, "broken": fail, "boot": boot_id}, 0.2)

    # then
    never.set()
    assert found == {
        "slow": {"error": "no answer within 0.2 seconds"},
        "broken": {"error": "ZeroDivisionError: by nought"},
        "boot": boot_id(),
    }


def test_a_program_that_hangs_is_stopped_with_all_it_started(tmp_path: Path) -> None:
    # given
    script = tmp_path / "hang"
    script.write_text(f"#!/bin/sh\nsleep 1000 &\necho $! >{tmp_path}/pid\nwait\n")
    script.chmod(0o700)

    # when
    with pytest.raises(ProbeError, match=r"hang did not end within 0\.5 seconds"):
        ask([str(script)], patience_seconds=0.5)

    # then
    sleeper = int((tmp_path / "pid").read_text())
    wait_for(lambda: not _is_alive(sleeper))  # a signal that was sent takes a moment to arrive


def _is_alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_program_s_words_and_exit_code_are_told() -> None:
    # when
    answer = ask([sys.executable, "-c", "import sys; print('out'); sys.exit('why')"])

    # then
    assert answer == (1, "out\n", "why\n")


def test_a_program_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        ask([str(tmp_path / "no-such-program")])
