"""Beginning a job agent on machines that were not made ready for it, or are hard to use."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow_mltrain.errors import TargetUnreachableError
from airflow_mltrain.targets import agent_entry
from airflow_mltrain.targets.agent_entry import NoEntryError, enter, job_agent
from airflow_mltrain.targets.agent_session import AgentSession
from tests.services.agent_process import AgentProcess, ProcessStream
from tests.services.fragile_agent import FragileAgent, FragileStream
from tests.services.processes import run_together
from tests.services.requirement import require

_HOSTILE_ROOTS = [
    "two words",
    "it's a 'root'",
    'a "quoted" one',
    "$HOME; `id` & | > <",
    "new\nline",
    "日本 ☃",
    "back\\slash\\n",
    "-rf",
    "percent %h %p",
    "{}",
]


class Login:
    """What a user of a machine gets to see: a shell line around the command, and variables."""

    def __init__(self, root: Path | str, line: str = "{}", **variables: str) -> None:
        self._root = str(root)
        self._line = line
        self._variables = variables
        self.streams: list[ProcessStream] = []

    def enter(self, python: str | None = None) -> AgentSession:
        """A session with an agent there."""
        return enter(self._open_stream, self._root, python, "the machine")

    def _open_stream(self, command_line: str) -> ProcessStream:
        stream = ProcessStream(self._line.replace("{}", command_line), self._variables)
        self.streams.append(stream)
        return stream


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
def read_only() -> Iterator[Callable[[Path], None]]:
    """Makes a folder one that nobody can write to."""
    mounted: list[Path] = []

    def make(folder: Path) -> None:
        subprocess.run(["mount", "--bind", folder, folder], check=True)
        mounted.append(folder)
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)

    if os.geteuid() != 0:
        require("root", "only root can mount a folder read-only")
    yield make
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A login is given up after a second instead of thirty."""
    monkeypatch.setattr(agent_entry, "_BOOT_SECONDS", 1.0)


def begin_agent(root: Path) -> tuple[str, bool]:
    """Begin an agent there as another process does; its place, and whether it answers."""
    session = AgentProcess(root).open_session()
    answer = session.ask("begun", digests=[])
    session.close()
    return session.hello.place, answer == {}


def test_an_agent_is_brought_to_a_machine_that_has_none(root: Path) -> None:
    # when
    session = Login(root).enter()

    # then
    assert session.ask("begun", digests=[]) == {}
    assert [path.name for path in _agents(root)] == [job_agent().digest]
    assert root.stat().st_mode & 0o777 == 0o700
    session.close()


def test_an_agent_that_was_brought_is_not_brought_again(root: Path) -> None:
    # given
    first = FragileAgent(root)
    first.open_session().close()
    again = FragileAgent(root)

    # when
    again.open_session().close()

    # then
    assert first.sent[0] > 30_000
    assert again.sent[0] < 5_000


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
    session = Login(root, line).enter()

    # then
    assert session.ask("begun", digests=[]) == {}
    session.close()


def test_what_a_login_prints_once_python_runs_does_not_matter(root: Path, programs: Path) -> None:
    # given
    _write_program(programs / "python3", f"echo 'module python loaded'; {_python('print(1)')}")

    # when
    session = Login(root, PATH=str(programs)).enter()

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
        Login(root, line).enter()

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
    login = Login(root, line)

    # when
    with pytest.raises(NoEntryError, match="did not begin within 1 seconds") as refusal:
        login.enter()

    # then
    assert said in str(refusal.value)
    assert len(str(refusal.value)) < 3000


def test_a_machine_without_python_says_what_to_install(root: Path, programs: Path) -> None:
    # when
    with pytest.raises(NoEntryError, match="no Python was found there; install"):
        Login(root, PATH=str(programs)).enter()

    # then
    assert not root.exists()


def test_a_python_that_was_named_and_is_not_there_says_so(root: Path) -> None:
    # when
    with pytest.raises(NoEntryError, match="no Python was found there"):
        Login(root).enter(python="/opt/no/such/python3")

    # then
    assert not root.exists()


@pytest.mark.parametrize("python", [None, "python3"], ids=["looked for", "named"])
def test_a_python_that_is_too_old_is_named(root: Path, programs: Path, python: str | None) -> None:
    # given
    _write_program(programs / "python3", _python(_OLD))

    # when
    with pytest.raises(NoEntryError, match=r"Python 3\.6\.8 \(.*\) there is too old; install"):
        Login(root, PATH=str(programs)).enter(python)

    # then
    assert not root.exists()


def test_a_newer_python_beside_one_that_is_too_old_is_found(root: Path, programs: Path) -> None:
    # given
    _write_program(programs / "python3", _python(_OLD))
    _write_program(programs / "python3.9", _python("pass"))

    # when
    session = Login(root, PATH=str(programs)).enter()

    # then
    assert session.ask("begun", digests=[]) == {}
    session.close()


def test_a_python_in_the_users_home_can_be_named(root: Path, tmp_path: Path) -> None:
    # given
    program = tmp_path / "my home" / "it's" / "python"
    program.parent.mkdir(parents=True)
    _write_program(program, _python("import sys; sys.executable = 'mine'"))

    # when
    session = Login(root, HOME=str(tmp_path / "my home")).enter("~/it's/python")

    # then
    assert session.hello.python == "mine"
    session.close()


@pytest.mark.parametrize("name", _HOSTILE_ROOTS)
def test_a_root_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    # when
    session = Login(tmp_path / name).enter()

    # then
    assert session.hello.root == str(tmp_path / name)
    assert len(_agents(tmp_path / name)) == 1
    session.close()


def test_a_root_folder_may_be_below_the_users_home(tmp_path: Path) -> None:
    # when
    session = Login("~/.mltrain", HOME=str(tmp_path / "my home")).enter()

    # then
    assert session.hello.root == str(tmp_path / "my home" / ".mltrain")
    session.close()


def test_a_root_folder_that_is_a_file_is_named(root: Path) -> None:
    # given
    root.touch()

    # when
    with pytest.raises(NoEntryError, match="mend that, or name another folder") as refusal:
        Login(root).enter()

    # then
    assert f"the root folder {root} cannot be used: " in str(refusal.value)


@pytest.mark.parametrize("parts", [["agent"], ["agent", "{digest}"], ["place"]])
def test_what_lies_in_the_way_in_the_root_folder_is_named(root: Path, parts: list[str]) -> None:
    # given
    path = root.joinpath(*parts)
    path = path.with_name(path.name.format(digest=job_agent().digest))
    path.parent.mkdir(parents=True)
    path.symlink_to("around")
    (root / "around").symlink_to("around")

    # when
    with pytest.raises(NoEntryError, match="cannot be used") as refusal:
        Login(root).enter()

    # then
    assert str(path) in str(refusal.value)


def test_a_root_folder_that_nobody_can_write_to_is_named(
    root: Path, read_only: Callable[[Path], None]
) -> None:
    # given
    root.mkdir()
    read_only(root)

    # when
    with pytest.raises(NoEntryError, match="Read-only file system") as refusal:
        Login(root).enter()

    # then
    assert f"the root folder {root} cannot be used: " in str(refusal.value)


def test_an_agent_answers_on_a_disk_that_became_read_only(
    root: Path, read_only: Callable[[Path], None]
) -> None:
    # given
    Login(root).enter().close()
    for cache in root.rglob("__pycache__"):
        shutil.rmtree(cache)
    read_only(root)

    # when
    session = Login(root).enter()

    # then
    assert session.ask("begun", digests=[]) == {}
    assert list(root.rglob("__pycache__")) == []
    session.close()


def test_processes_that_bring_an_agent_at_the_same_instant_all_get_in(root: Path) -> None:
    # when
    answers = run_together(begin_agent, [root] * 8)

    # then
    assert answers == [((root / "place").read_text(), True)] * 8
    assert [path.name for path in _agents(root)] == [job_agent().digest]


@pytest.mark.parametrize("sent", [1, 3_000, 20_000])
def test_who_is_cut_while_bringing_an_agent_does_not_spoil_it(root: Path, sent: int) -> None:
    # given
    agent = FragileAgent(root, lambda line: FragileStream(line, most_sent=sent))
    with pytest.raises(NoEntryError):
        agent.open_session()

    # when
    session = agent.open_session()

    # then
    assert session.ask("begun", digests=[]) == {}
    assert [path.name for path in _agents(root)] == [job_agent().digest]
    session.close()


@pytest.mark.parametrize("milliseconds", [20, 25, 30, 35, 40, 45, 50, 60, 80])
def test_an_agent_that_is_killed_while_it_settles_does_not_spoil_the_next(
    root: Path, milliseconds: int
) -> None:
    # given
    login = Login(root)

    def kill() -> None:
        login.streams[0].cut()

    killer = threading.Timer(milliseconds / 1000, kill)
    killer.start()
    try:
        login.enter().close()
    except NoEntryError:
        pass
    finally:
        killer.join()

    # when
    session = login.enter()

    # then
    assert session.ask("begun", digests=[]) == {}
    session.close()


def test_another_version_lives_beside(root: Path) -> None:
    # given
    other = root / "agent" / ("0" * 32)
    other.mkdir(parents=True)
    (other / "server.py").write_text("raise SystemExit")

    # when
    session = Login(root).enter()

    # then
    assert session.ask("begun", digests=[]) == {}
    assert (other / "server.py").exists()
    session.close()


def test_what_the_agent_is_made_of_is_all_that_arrives(root: Path) -> None:
    # given
    Login(root).enter().close()
    home = root / "agent" / job_agent().digest

    # when
    files = {str(path.relative_to(home)): path.read_text() for path in home.rglob("*.py")}

    # then
    assert files == json.loads(job_agent().content)


def test_a_clock_that_is_ahead_is_noticed(root: Path, programs: Path) -> None:
    # given
    ahead = "import time; now = time.time; time.time = lambda: now() + 3600"
    _write_program(programs / "python3", _python(ahead))

    # when
    session = Login(root, PATH=str(programs)).enter()

    # then
    assert 3599 < session.hello.clock_skew_seconds < 3601
    session.close()


def test_a_python_that_takes_its_time_is_not_a_clock_that_is_wrong(
    root: Path, programs: Path
) -> None:
    # given
    _write_program(programs / "python3", _python("import time; time.sleep(1.5)"))

    # when
    session = Login(root, PATH=str(programs)).enter()

    # then
    assert abs(session.hello.clock_skew_seconds) < 0.5
    session.close()


_OLD = "import sys; sys.version_info = (3, 6, 8); sys.version = '3.6.8 (of long ago)'"


def _python(first: str) -> str:
    """A shell line that is this Python, which does something before what it is told to do."""
    return f'exec {sys.executable} -I -S -X utf8 -c "{first}\n$6"'


def _write_program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def _agents(root: Path) -> list[Path]:
    """What lies in the folder of agents, but their log."""
    return [path for path in (root / "agent").iterdir() if path.name != "log"]
