"""Programs that install packages: finding them, and passing on what they say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from airflow_mltrain.runtime.job_agent.installer import tool
from airflow_mltrain.runtime.job_agent.installer.tool import InstallError, find_tools
from tests.services.jobs import wait_for
from tests.services.patience import PATIENCE_SECONDS

_RUNTIME = str(Path(tool.__file__).parents[2])


def make_program(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def run(tmp_path: Path, script: str, *, answer: Path | None = None) -> None:
    argv = ["sh", "-c", script]
    into = None if answer is None else str(answer)
    tool.run(argv, str(tmp_path), dict(os.environ), "do this", into)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a user on a machine without any tool."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    return tmp_path


def test_a_uv_that_came_along_counts_first(bare: Path) -> None:
    # given
    brought = make_program(bare / "brought" / "uv", "echo uv 0.9.0")
    make_program(bare / "path" / "uv", "echo uv 0.9.0")

    # when, then
    assert find_tools(brought).uv == brought


@pytest.mark.parametrize("text", ["exit 1", "echo uv 0.4.22", "echo hello"])
def test_a_uv_that_does_not_run_or_is_too_old_is_passed_over(bare: Path, text: str) -> None:
    # given
    brought = make_program(bare / "brought" / "uv", text)
    usable = make_program(bare / ".cargo" / "bin" / "uv", "echo 'uv 0.4.23 (of some day)'")

    # when, then
    assert find_tools(brought).uv == usable


@pytest.mark.parametrize("place", ["path/mamba", ".local/bin/micromamba", "miniconda3/bin/conda"])
def test_conda_is_found_where_it_is_usually_put(bare: Path, place: str) -> None:
    # given
    program = make_program(bare / place, "exit 1")

    # when, then
    assert find_tools(None) == (None, program)


def test_a_tool_is_heard_while_it_works(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # when
    run(tmp_path, "echo one; echo two >&2; printf three")

    # then
    assert capfd.readouterr().out == "one\ntwo\nthree\n"


def test_an_answer_goes_into_its_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # when
    run(tmp_path, "echo one; echo two >&2", answer=tmp_path / "answer")

    # then
    assert (tmp_path / "answer").read_text() == "one\n"
    assert capfd.readouterr().out == "two\n"


def test_a_complaint_comes_without_the_progress_before_it(tmp_path: Path) -> None:
    # when, then
    with pytest.raises(InstallError, match=r"\AERROR: no\nbecause\ndo this\Z"):
        run(tmp_path, "echo Collecting; echo 'ERROR: no'; echo because; exit 3")


def test_a_long_complaint_is_cut_to_its_end(tmp_path: Path) -> None:
    # when
    with pytest.raises(InstallError) as caught:
        run(tmp_path, "yes 'so many words' | head -n 100000; echo the end; exit 1")

    # then
    assert len(str(caught.value)) < 3100
    assert str(caught.value).endswith("the end\ndo this")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 7", "exit code 7"),
        ("kill -9 $$", "killed by SIGKILL"),
        ("kill -40 $$", "killed by signal 40"),
    ],
)
def test_a_tool_that_says_nothing_is_spoken_for(tmp_path: Path, script: str, words: str) -> None:
    # when, then
    with pytest.raises(InstallError, match=words):
        run(tmp_path, script)


def test_credentials_in_urls_are_not_passed_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # when
    with pytest.raises(InstallError) as caught:
        run(tmp_path, "echo 'error: https://joe:pass@word@host/index/ (http://joe@h)'; exit 1")

    # then
    said = "error: https://****@host/index/ (http://****@h)"
    assert str(caught.value) == f"{said}\ndo this"
    assert capfd.readouterr().out == f"{said}\n"


def test_a_line_without_an_end_is_passed_on_while_it_grows(tmp_path: Path) -> None:
    # given
    code = """
    import os, re, sys
    sys.path.insert(0, sys.argv[1])
    from job_agent.installer import tool
    script = "head -c 50000000 /dev/zero"
    tool.run(["sh", "-c", script], sys.argv[2], dict(os.environ), "")
    status = open("/proc/self/status").read()  # getrusage would count the process it came from
    print(re.search(r"VmHWM:\\s+(\\d+)", status).group(1), file=sys.stderr)
    """
    argv = [sys.executable, "-c", textwrap.dedent(code), _RUNTIME, str(tmp_path)]

    # when
    done = subprocess.run(argv, check=True, capture_output=True, timeout=PATIENCE_SECONDS)

    # then
    assert done.stdout == bytes(50_000_000) + b"\n"
    assert int(done.stderr) < 50_000  # kilobytes


@pytest.mark.parametrize("before", [65_500, 65_525, 65_530, 65_535, 65_540])
@pytest.mark.parametrize("filler", ["x", "/", ":", " "])
def test_credentials_at_the_border_of_a_piece_are_not_passed_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], before: int, filler: str
) -> None:
    # given
    said = tmp_path / "said"
    said.write_text(f"{filler * before} https://joe:password@host/{'y' * 200_000}")

    # when
    run(tmp_path, f"dd if='{said}' bs=1000 status=none")

    # then
    expected = f"{filler * before} https://****@host/{'y' * 200_000}\n"
    assert capfd.readouterr().out == expected


def test_progress_that_overwrites_itself_is_heard_at_once(tmp_path: Path) -> None:
    # given
    script = "printf '1%%\\r'; until test -e heard; do sleep 0.01; done; printf '2%%\\r'"
    code = """
    import os, sys
    sys.path.insert(0, sys.argv[1])
    from job_agent.installer import tool
    tool.run(["sh", "-c", sys.argv[3]], sys.argv[2], dict(os.environ), "")
    """
    argv = [sys.executable, "-c", textwrap.dedent(code), _RUNTIME, str(tmp_path), script]

    # when
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as teller:
        assert teller.stdout is not None
        first = teller.stdout.read(3)
        (tmp_path / "heard").touch()
        rest = teller.stdout.read()

    # then
    assert (first, rest) == (b"1%\r", b"2%\r\n")


def test_what_a_tool_left_running_is_not_waited_for(tmp_path: Path) -> None:
    # given
    left = "sleep 100 & echo $! > left; echo done"

    # when
    run(tmp_path, left)

    # then
    pid = int((tmp_path / "left").read_text())
    assert Path(f"/proc/{pid}").exists()
    os.kill(pid, signal.SIGKILL)


def test_a_tool_dies_with_whom_it_works_for(tmp_path: Path) -> None:
    # given
    code = """
    import os, sys
    sys.path.insert(0, sys.argv[1])
    from job_agent.installer import tool
    script = "echo $$ > pid.new; mv pid.new pid; exec sleep 100"
    tool.run(["sh", "-c", script], sys.argv[2], dict(os.environ), "")
    """
    argv = [sys.executable, "-c", textwrap.dedent(code), _RUNTIME, str(tmp_path)]
    with subprocess.Popen(argv) as parent:
        wait_for((tmp_path / "pid").exists)

        # when
        parent.kill()

    # then
    pid = (tmp_path / "pid").read_text().strip()
    wait_for(lambda: not Path(f"/proc/{pid}/exe").exists())
    assert parent.returncode == -signal.SIGKILL
