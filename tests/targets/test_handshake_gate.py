"""How many handshakes with one host begin at once on a machine."""

from __future__ import annotations

import os
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from airflow_mltrain.targets.handshake_gate import pass_gate

_HOST = "gpu.example.org:22"
_PLACES = 6


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def pass_in_a_thread(address: str) -> tuple[threading.Thread, threading.Event]:
    passed = threading.Event()

    def pass_it() -> None:
        with pass_gate(address):
            passed.set()

    thread = threading.Thread(target=pass_it)
    thread.start()
    return thread, passed


def test_one_more_than_there_are_places_waits_until_one_is_free() -> None:
    with ExitStack() as others:
        first = others.enter_context(ExitStack())
        first.enter_context(pass_gate(_HOST))
        for _ in range(_PLACES - 1):
            others.enter_context(pass_gate(_HOST))

        late, has_passed = pass_in_a_thread(_HOST)
        passed_early = has_passed.wait(0.2)
        first.close()
        late.join(10)

    assert not passed_early
    assert has_passed.is_set()


def test_another_host_has_places_of_its_own() -> None:
    with ExitStack() as others:
        for _ in range(_PLACES):
            others.enter_context(pass_gate(_HOST))

        other, has_passed = pass_in_a_thread("other.example.org:22")
        other.join(10)

        assert has_passed.is_set()


def test_a_process_forked_meanwhile_keeps_no_place() -> None:
    released, release = os.pipe()
    with ExitStack() as others:
        for _ in range(_PLACES):
            others.enter_context(pass_gate(_HOST))
        child = os.fork()
        if child == 0:
            os.close(release)
            os.read(released, 1)
            os._exit(0)

    late, has_passed = pass_in_a_thread(_HOST)
    late.join(10)
    os.close(release)
    os.waitpid(child, 0)
    os.close(released)

    assert has_passed.is_set()


def test_a_folder_that_others_may_write_to_is_not_trusted(own_temporary_folder: Path) -> None:
    with pass_gate(_HOST):
        [folder] = own_temporary_folder.iterdir()
    for place in folder.iterdir():
        place.unlink()
    folder.chmod(0o777)

    with pass_gate(_HOST):
        places = list(folder.iterdir())

    assert places == []


def test_a_link_in_place_of_the_folder_is_not_followed(own_temporary_folder: Path) -> None:
    with pass_gate(_HOST):
        [folder] = own_temporary_folder.iterdir()
    folder.rename(own_temporary_folder / "elsewhere")
    for place in (own_temporary_folder / "elsewhere").iterdir():
        place.unlink()
    folder.symlink_to("elsewhere")

    with pass_gate(_HOST):
        places = list(folder.iterdir())

    assert places == []
