"""Bringing a job agent to a root folder: any folder, at any instant, cut at any point."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_mltrain.targets.agent_entry import NoEntryError, job_agent
from tests.services.agent_process import AgentProcess, ProcessStream
from tests.services.fragile_agent import FragileAgent, FragileStream
from tests.services.jobs import wait_for
from tests.services.process_login import ProcessLogin
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


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


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


def begin_agent(root: Path) -> tuple[str, bool]:
    """Begin an agent there as another process does; its place, and whether it answers."""
    session = AgentProcess(root).open_session()
    answer = session.ask("begun", digests=[])
    session.close()
    return session.hello.place, answer == {}


def test_an_agent_is_brought_to_a_machine_that_has_none(root: Path) -> None:
    # when
    session = ProcessLogin(root).enter()

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


@pytest.mark.parametrize("name", _HOSTILE_ROOTS)
def test_a_root_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    # when
    session = ProcessLogin(tmp_path / name).enter()

    # then
    assert session.hello.root == str(tmp_path / name)
    assert len(_agents(tmp_path / name)) == 1
    session.close()


def test_a_root_folder_may_be_below_the_users_home(tmp_path: Path) -> None:
    # when
    session = ProcessLogin("~/.mltrain", HOME=str(tmp_path / "my home")).enter()

    # then
    assert session.hello.root == str(tmp_path / "my home" / ".mltrain")
    session.close()


def test_a_root_folder_that_is_a_file_is_named(root: Path) -> None:
    # given
    root.touch()

    # when
    with pytest.raises(NoEntryError, match="mend that, or name another folder") as refusal:
        ProcessLogin(root).enter()

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
        ProcessLogin(root).enter()

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
        ProcessLogin(root).enter()

    # then
    assert f"the root folder {root} cannot be used: " in str(refusal.value)


def test_an_agent_answers_on_a_disk_that_became_read_only(
    root: Path, read_only: Callable[[Path], None]
) -> None:
    # given
    ProcessLogin(root).enter().close()
    for cache in root.rglob("__pycache__"):
        shutil.rmtree(cache)
    read_only(root)

    # when
    session = ProcessLogin(root).enter()

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


def test_who_was_overtaken_in_bringing_an_agent_gets_in_too(root: Path) -> None:
    # given
    may_bring = threading.Event()

    class HeldUpStream(ProcessStream):
        def send(self, content: bytes) -> None:
            if len(content) > 20_000:
                may_bring.wait()
            super().send(content)

    agent = FragileAgent(root, HeldUpStream)
    with ThreadPoolExecutor(1) as pool:
        overtaken = pool.submit(agent.open_session)
        wait_for((root / "agent").exists)

        # when
        agent.open_session().close()
        may_bring.set()
        session = overtaken.result()

    # then
    assert session.ask("begun", digests=[]) == {}
    assert [path.name for path in _agents(root)] == [job_agent().digest]
    session.close()


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
    login = ProcessLogin(root)

    def kill() -> None:
        wait_for(lambda: login.streams)
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
    session = ProcessLogin(root).enter()

    # then
    assert session.ask("begun", digests=[]) == {}
    assert (other / "server.py").exists()
    session.close()


def test_what_the_agent_is_made_of_is_all_that_arrives(root: Path) -> None:
    # given
    ProcessLogin(root).enter().close()
    home = root / "agent" / job_agent().digest

    # when
    files = {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*.py")}

    # then
    sizes, _, contents = job_agent().content.partition(b"\n")
    assert {path: len(content) for path, content in files.items()} == json.loads(sizes)
    assert b"".join(files[path] for path in json.loads(sizes)) == contents


def _agents(root: Path) -> list[Path]:
    """What lies in the folder of agents, but their log."""
    return [path for path in (root / "agent").iterdir() if path.name != "log"]
