"""Logins that print, wait or end, and the Pythons that are found behind them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from airflow_mltrain.errors import TargetUnreachableError
from airflow_mltrain.targets import agent_entry
from airflow_mltrain.targets.agent_entry import NoEntryError
from tests.services.process_login import ProcessLogin

_OLD = "import sys; sys.version_info = (3, 6, 8); sys.version = '3.6.8 (of long ago)'"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder of programs, as the only one where a login looks for any."""
    folder = tmp_path / "programs"
    folder.mkdir()
    return folder


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A login is given up after a second instead of thirty."""
    monkeypatch.setattr(agent_entry, "_BOOT_SECONDS", 1.0)


@pytest.mark.parametrize(
    "line",
    [
        "echo 'Welcome!'; {}",
        "printf 'no end of line'; {}",
        "printf '\\n\\n\\0\\377 not text\\n'; {}",
        "head -c 3000000 /dev/urandom; {}",
        "echo oh >&2; {}",
        "(echo late; sleep 0.01; echo later) & {}",
        "yes | head -n 100000; {}",
    ],
    ids=["a line", "half a line", "no text", "much", "on stderr", "meanwhile", "many lines"],
)
def test_what_a_login_prints_does_not_matter(root: Path, line: str) -> None:
    # when
    session = ProcessLogin(root, line).enter()

    # then
    assert session.ask("begun", digests=[]) == {}
    session.close()


def test_what_a_login_prints_once_python_runs_does_not_matter(root: Path, programs: Path) -> None:
    # given
    _write_program(programs / "python3", f"echo 'module python loaded'; {_python('print(1)')}")

    # when
    session = ProcessLogin(root, PATH=str(programs)).enter()

    # then
    assert session.ask("begun", digests=[]) == {}
    session.close()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("echo 'This account is not available.'", "This account is not available."),
        ("exit 1", "it needs a login that runs commands"),
        ("exec /no/such/shell", "the login ended before the job agent began"),
        ("head -c 10 >/dev/null", "the login ended before the job agent began"),
    ],
)
def test_a_login_that_runs_no_commands_says_so(root: Path, line: str, said: str) -> None:
    # when
    with pytest.raises(NoEntryError, match="the machine: ") as refusal:
        ProcessLogin(root, line).enter()

    # then
    assert said in str(refusal.value)
    assert isinstance(refusal.value, TargetUnreachableError)


@pytest.mark.usefixtures("impatience")
@pytest.mark.parametrize(
    ("line", "said"),
    [("echo 'Your code?'; cat >/dev/null", "Your code?"), ("exec yes more", "more\nmore\n")],
    ids=["waits", "prints without end"],
)
def test_a_login_that_does_not_come_to_the_point_is_left(root: Path, line: str, said: str) -> None:
    # given
    login = ProcessLogin(root, line)

    # when
    with pytest.raises(NoEntryError, match="did not begin within 1 seconds") as refusal:
        login.enter()

    # then
    assert said in str(refusal.value)
    assert len(str(refusal.value)) < 3000


def test_a_machine_without_python_says_what_to_install(root: Path, programs: Path) -> None:
    # when
    with pytest.raises(NoEntryError, match="no Python was found there; install"):
        ProcessLogin(root, PATH=str(programs)).enter()

    # then
    assert not root.exists()


def test_a_python_that_was_named_and_is_not_there_says_so(root: Path) -> None:
    # when
    with pytest.raises(NoEntryError, match="no Python was found there"):
        ProcessLogin(root).enter(python="/opt/no/such/python3")

    # then
    assert not root.exists()


@pytest.mark.parametrize("python", [None, "python3"], ids=["looked for", "named"])
def test_a_python_that_is_too_old_is_named(root: Path, programs: Path, python: str | None) -> None:
    # given
    _write_program(programs / "python3", _python(_OLD))

    # when
    with pytest.raises(NoEntryError, match=r"Python 3\.6\.8 \(.*\) there is too old; install"):
        ProcessLogin(root, PATH=str(programs)).enter(python)

    # then
    assert not root.exists()


def test_a_newer_python_beside_one_that_is_too_old_is_found(root: Path, programs: Path) -> None:
    # given
    _write_program(programs / "python3", _python(_OLD))
    _write_program(programs / "python3.9", _python("pass"))

    # when
    session = ProcessLogin(root, PATH=str(programs)).enter()

    # then
    assert session.ask("begun", digests=[]) == {}
    session.close()


def test_a_python_in_the_users_home_can_be_named(root: Path, tmp_path: Path) -> None:
    # given
    program = tmp_path / "my home" / "it's" / "python"
    program.parent.mkdir(parents=True)
    _write_program(program, _python("import sys; sys.executable = 'mine'"))

    # when
    session = ProcessLogin(root, HOME=str(tmp_path / "my home")).enter("~/it's/python")

    # then
    assert session.hello.python == "mine"
    session.close()


def test_a_clock_that_is_ahead_is_noticed(root: Path, programs: Path) -> None:
    # given
    ahead = "import time; now = time.time; time.time = lambda: now() + 3600"
    _write_program(programs / "python3", _python(ahead))

    # when
    session = ProcessLogin(root, PATH=str(programs)).enter()

    # then
    assert 3599 < session.hello.clock_skew_seconds < 3601
    session.close()


def test_a_python_that_takes_its_time_is_not_a_clock_that_is_wrong(
    root: Path, programs: Path
) -> None:
    # given
    _write_program(programs / "python3", _python("import time; time.sleep(1.5)"))

    # when
    session = ProcessLogin(root, PATH=str(programs)).enter()

    # then
    assert abs(session.hello.clock_skew_seconds) < 0.5
    session.close()


def _python(first: str) -> str:
    """A shell line that is this Python, which does something before what it is told to do."""
    return f'exec {sys.executable} -I -S -X utf8 -c "{first}\n$6"'


def _write_program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
