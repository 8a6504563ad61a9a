"""The facts of a machine, as the job agent tells them."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from pathlib import Path

import pytest

from airflow_mltrain.runtime.job_agent.examination import examine, read_os_release


def add_program(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that this process finds before all others."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return program


def test_a_machine_in_order_tells_all_of_its_facts_as_json(tmp_path: Path) -> None:
    # when
    facts = examine(str(tmp_path), None)

    # then
    assert json.loads(json.dumps(facts)) == facts
    assert [
        name for name, fact in facts.items() if isinstance(fact, dict) and "error" in fact
    ] == []
    assert facts["account"]["uid"] == os.getuid()
    assert facts["machine"]["hostname"] == platform.node()
    assert facts["python"]["version"] == platform.python_version()
    assert facts["supervision"] == {}
    assert abs(facts["time"] - time.time()) < 60


def test_an_examination_takes_no_longer_than_a_person_waits(tmp_path: Path) -> None:
    # given
    started = time.monotonic()

    # when
    examine(str(tmp_path), None)

    # then
    assert time.monotonic() - started < 5


def test_an_examination_leaves_nothing_behind(tmp_path: Path) -> None:
    # when
    facts = examine(str(tmp_path / "not" / "there yet"), None)

    # then
    assert facts["root"]["exists"] is False
    assert facts["root"]["lacks"] == {}
    assert list(tmp_path.iterdir()) == []


def test_a_uv_that_was_brought_along_is_told_with_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    uv = add_program(tmp_path / "bin", "uv-brought", "echo uv 7.8.9", monkeypatch)

    # when
    tools = examine(str(tmp_path), str(uv))["tools"]

    # then
    assert (tools["uv"], tools["uv_version"]) == (str(uv), "7.8.9")


def test_how_scripts_write_text_is_told_with_the_variables_they_begin_with(tmp_path: Path) -> None:
    # when
    locale = examine(str(tmp_path), None, {"PYTHONIOENCODING": "koi8-r"})["locale"]

    # then
    assert locale["output_encoding"] == "koi8-r"
    assert locale["variables"]["PYTHONIOENCODING"] == "koi8-r"


def test_graphics_cards_are_told_as_their_program_lists_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    card = "0, NVIDIA RTX A4000, 16376 MiB, 550.54"
    add_program(tmp_path / "bin", "nvidia-smi", f"echo '{card}'", monkeypatch)

    # when
    gpus = examine(str(tmp_path), None)["gpus"]

    # then
    assert gpus["cards"] == [
        {"index": "0", "name": "NVIDIA RTX A4000", "memory": "16376 MiB", "driver": "550.54"}
    ]


def test_a_driver_that_does_not_answer_is_told_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    failing = "echo 'NVIDIA-SMI has failed:'; echo 'no driver'; exit 9"
    add_program(tmp_path / "bin", "nvidia-smi", failing, monkeypatch)

    # when
    gpus = examine(str(tmp_path), None)["gpus"]

    # then
    assert gpus["cards"] == []
    assert gpus["program_error"] == "NVIDIA-SMI has failed: no driver"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (
            'ID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
            "Debian GNU/Linux 12 (bookworm)",
        ),
        ("NAME='Alpine Linux'\n", "Alpine Linux"),
        ("\n", "Linux"),
    ],
)
def test_a_distribution_is_told_by_its_own_name(tmp_path: Path, content: str, name: str) -> None:
    # given
    release = tmp_path / "os-release"
    release.write_text(content)

    # when
    found = read_os_release(str(release))

    # then
    assert found == name


def test_a_machine_without_such_a_file_is_just_a_linux(tmp_path: Path) -> None:
    assert read_os_release(str(tmp_path / "none")) == "Linux"


def test_the_interpreter_is_the_one_that_runs_the_agent(tmp_path: Path) -> None:
    # when
    facts = examine(str(tmp_path), None)

    # then
    assert facts["python"]["executable"] == sys.executable
