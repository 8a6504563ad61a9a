"""Finding the Python that an environment is built on."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_mltrain.runtime.job_agent.environment import interpreter
from airflow_mltrain.runtime.job_agent.environment.interpreter import (
    Interpreter,
    InterpreterNotFoundError,
    ask_interpreter,
    conda_platform,
    find_interpreter,
    platform_of,
)

_OWN = f"{sys.version_info[0]}.{sys.version_info[1]}"
_RUNTIME = Path(interpreter.__file__).parents[2]
_PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
from job_agent.environment.interpreter import find_interpreter
print(json.dumps(find_interpreter(None, "")))
"""


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    return tmp_path / "interpreters.json"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which this machine has interpreters, but for the usual ones."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path))
    return folder


def install(folder: Path, name: str, version: str, implementation: str = "cpython") -> Path:
    """Put a program there that answers as an interpreter of that version, and counts its runs."""
    program = folder / name
    answer = json.dumps([str(program), version, implementation])
    program.write_text(f"#!/bin/sh\necho run >> '{program}.runs'\necho '{answer}'\n")
    program.chmod(0o755)
    return program


def test_without_a_request_it_is_the_python_that_runs_the_agent(memory: Path) -> None:
    found = find_interpreter(None, str(memory))

    assert found.version == platform.python_version()
    assert os.path.realpath(sys.executable) == found.path
    assert not memory.exists()


def test_the_own_python_serves_where_it_fits_though_others_are_newer(
    machine: Path, memory: Path
) -> None:
    other = install(machine, f"python{_OWN}", f"{_OWN}.99")

    found = find_interpreter(_OWN, str(memory))

    assert found == find_interpreter(None, str(memory))
    assert not Path(f"{other}.runs").exists()


def test_a_virtual_environment_is_traced_to_its_base(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"

    answer = subprocess.run(
        [python, "-I", "-S", "-c", _PROGRAM, _RUNTIME], check=True, capture_output=True
    ).stdout

    assert Interpreter(*json.loads(answer)) == find_interpreter(None, "")
    assert ask_interpreter(str(python)) == find_interpreter(None, "")


def test_a_virtual_environment_of_copies_is_traced_to_its_base(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    base = Path(find_interpreter(None, "").path)
    (tmp_path / "pyvenv.cfg").write_text(f"home = {base.parent}\n")
    python.write_text(
        f'#!/bin/sh\necho \'["{python}", "{platform.python_version()}", "cpython"]\''
    )
    python.chmod(0o755)

    found = ask_interpreter(str(python))

    assert found is not None
    assert found.path == str(base)


def test_the_newest_that_fits_is_taken(machine: Path, memory: Path) -> None:
    install(machine, "python3.77", "3.77.9")
    install(machine, "python3", "3.77.10")
    install(machine, "python", "3.78.1")

    found = find_interpreter("3.77", str(memory))

    assert found == Interpreter(str(machine / "python3"), "3.77.10", "cpython")


def test_a_released_cpython_is_preferred(machine: Path, memory: Path) -> None:
    install(machine, "python3.77", "3.77.2")
    install(machine, "python3", "3.77.3rc1")
    install(machine, "python", "3.77.4", "pypy")

    assert find_interpreter("3.77", str(memory)).version == "3.77.2"


def test_a_full_version_means_that_one(machine: Path, memory: Path) -> None:
    install(machine, "python3.77", "3.77.10")
    install(machine, "python3", "3.77.1")

    assert find_interpreter("3.77.1", str(memory)).version == "3.77.1"


def test_an_interpreter_of_pyenv_or_uv_is_found_without_path(
    machine: Path, memory: Path, tmp_path: Path
) -> None:
    assert machine.is_dir()
    folder = tmp_path / ".pyenv" / "versions" / "3.77.1" / "bin"
    folder.mkdir(parents=True)
    install(folder, "python3.77", "3.77.1")
    folder = tmp_path / ".local" / "share" / "uv" / "python" / "cpython-3.77.2" / "bin"
    folder.mkdir(parents=True)
    install(folder, "python3.77", "3.77.2")

    assert find_interpreter("3.77", str(memory)).version == "3.77.2"


@pytest.mark.parametrize("body", ["exit 127", "echo no json", "echo '[1]'", "echo '{}'"])
def test_a_shim_that_fails_is_passed_over(machine: Path, memory: Path, body: str) -> None:
    shim = machine / "python3.77"
    shim.write_text(f"#!/bin/sh\n{body}\n")
    shim.chmod(0o755)
    install(machine, "python3", "3.77.1")

    assert find_interpreter("3.77", str(memory)).version == "3.77.1"


def test_shims_that_are_links_to_one_program_are_each_asked(machine: Path, memory: Path) -> None:
    shim = machine / "shim"
    answer = json.dumps([str(shim), "3.77.1", "cpython"])
    shim.write_text(f"#!/bin/sh\n[ \"${{0##*/}}\" = python3 ] || exit 1\necho '{answer}'\n")
    shim.chmod(0o755)
    (machine / "python3.77").symlink_to(shim)
    (machine / "python3").symlink_to(shim)

    assert find_interpreter("3.77", str(memory)).version == "3.77.1"


def test_the_next_job_starts_no_process(machine: Path, memory: Path) -> None:
    program = install(machine, "python3.77", "3.77.1")
    first = find_interpreter("3.77", str(memory))

    again = find_interpreter("3.77", str(memory))

    assert again == first
    assert Path(f"{program}.runs").read_text() == "run\n"


def test_an_interpreter_that_was_replaced_is_asked_again(machine: Path, memory: Path) -> None:
    install(machine, "python3.77", "3.77.1")
    find_interpreter("3.77", str(memory))

    install(machine, "python3.77", "3.77.20")

    assert find_interpreter("3.77", str(memory)).version == "3.77.20"


def test_an_interpreter_that_went_is_searched_again(machine: Path, memory: Path) -> None:
    install(machine, "python3", "3.77.1")
    install(machine, "python3.77", "3.77.2")
    find_interpreter("3.77", str(memory))

    (machine / "python3.77").unlink()

    assert find_interpreter("3.77", str(memory)).version == "3.77.1"


@pytest.mark.parametrize("content", ["", "[]", "{", '{"3.77": 3}', '{"3.77": ["a", 1, 2, [0]]}'])
def test_a_damaged_memory_is_none(machine: Path, memory: Path, content: str) -> None:
    install(machine, "python3.77", "3.77.1")
    memory.write_text(content)

    assert find_interpreter("3.77", str(memory)).version == "3.77.1"
    assert json.loads(memory.read_text())["3.77"][1] == "3.77.1"


def test_a_memory_that_cannot_be_written_costs_only_time(machine: Path, tmp_path: Path) -> None:
    install(machine, "python3.77", "3.77.1")

    found = find_interpreter("3.77", str(tmp_path / "nowhere" / "memory"))

    assert found.version == "3.77.1"


def test_who_finds_none_learns_what_there_is_and_what_to_do(machine: Path, memory: Path) -> None:
    install(machine, "python3", "3.66.12")

    with pytest.raises(InterpreterNotFoundError) as caught:
        find_interpreter("3.77.2", str(memory))

    assert "no Python 3.77.2" in str(caught.value)
    assert f"{platform.python_version()}" in str(caught.value)
    assert "3.66.12" in str(caught.value)
    assert "install python3.77 (or run `uv python install 3.77.2`" in str(caught.value)
    assert "python.version" in str(caught.value)


def test_a_version_that_begins_like_another_is_another(machine: Path, memory: Path) -> None:
    install(machine, "python3.77", "3.77.12")

    with pytest.raises(InterpreterNotFoundError):
        find_interpreter("3.77.1", str(memory))


def test_a_platform_says_where_a_lock_holds() -> None:
    name = platform_of(Interpreter("/usr/bin/python3.11", "3.11.7", "cpython"))

    assert name == f"cpython-3.11-linux-{platform.machine()}-{platform.libc_ver()[0] or 'musl'}"
    assert conda_platform() == f"conda-linux-{platform.machine()}"
