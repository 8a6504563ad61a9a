"""Spare copies of a project: taken by one run each, changed to what it asks for, never shared."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_mltrain.runtime.job_agent.checkout import check_out
from airflow_mltrain.runtime.job_agent.spare import Spares
from airflow_mltrain.snapshots.blob_store import BlobStore
from airflow_mltrain.snapshots.snapshot import take_snapshot
from tests.services.mount import mounted

_COUNT = 1200


class Ground:
    """A project of very many files, and a root folder that gets its snapshots."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.source = folder / "source"
        self._index = folder / "index"
        self._runs = folder / "runs"
        self._runs.mkdir(parents=True)
        (self.source / "library").mkdir(parents=True)
        for number in range(_COUNT):
            (self.source / "library" / f"m{number}.py").write_text(f"VALUE = {number}\n")
        (self.source / "train.py").write_text("print(1)\n")
        (self.source / "tool").write_text("#!/bin/sh\n")
        (self.source / "tool").chmod(0o755)
        self.store = BlobStore(self.root / "blobs")

    @property
    def spares(self) -> list[str]:
        """The names of all there are."""
        found = sorted((self.root / "spares").glob("*.*"))
        return [path.name for path in found]

    def snapshot(self) -> tuple[bytes, str]:
        """A manifest of the project as it is, and its digest."""
        snapshot = take_snapshot(
            self.source, self.store, index_directory=self._index, max_bytes=10**9
        )
        return snapshot.manifest.encode(), snapshot.snapshot_id

    def leave(self) -> str:
        """Leave a spare of the project as it is, as a supervisor does that has ended."""
        _, snapshot_id = self.snapshot()
        in_child(lambda: Spares(str(self.root)).leave(snapshot_id))
        return snapshot_id

    def take(self, name: str = "code") -> Path | None:
        """A new folder that was a spare; None where none fits."""
        folder = self._runs / name
        manifest, _ = self.snapshot()
        return folder if Spares(str(self.root)).take(manifest, str(folder)) else None


def in_child(work: Callable[[], object], *, killed_after: float | None = None) -> None:
    """Do it in a process of its own, which is as nice as it likes, or is killed meanwhile."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    if killed_after is not None:
        time.sleep(killed_after)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert status == (0 if killed_after is None else signal.SIGKILL)


def content(folder: Path) -> dict[str, tuple[int, str]]:
    """Every path below a folder, with its mode and what it holds."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.read_text() if path.is_file() else "",
        )
        for path in folder.rglob("*")
    }


def laid_out(ground: Ground, folder: Path) -> dict[str, tuple[int, str]]:
    """The same of the project, laid out without a spare."""
    manifest, _ = ground.snapshot()
    check_out(manifest, str(ground.root / "blobs"), str(folder))
    return content(folder)


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    """One for each test."""
    return Ground(tmp_path)


def test_an_unchanged_project_is_a_spare_under_another_name(
    ground: Ground, tmp_path: Path
) -> None:
    ground.leave()

    taken = ground.take()

    assert taken is not None
    assert content(taken) == laid_out(ground, tmp_path / "expected")
    assert ground.spares == []


def test_what_changed_came_and_went_is_as_in_the_project(ground: Ground, tmp_path: Path) -> None:
    # given
    ground.leave()
    (ground.source / "train.py").write_text("print(2)\n")
    (ground.source / "library" / "m3.py").unlink()
    (ground.source / "library" / "new.py").write_text("NEW = True\n")
    (ground.source / "tool").chmod(0o600)

    # when
    taken = ground.take()

    # then
    assert taken is not None
    assert content(taken) == laid_out(ground, tmp_path / "expected")


@pytest.mark.parametrize("change", ["folder", "link", "much"])
def test_what_changed_otherwise_is_laid_out_anew(ground: Ground, change: str) -> None:
    ground.leave()
    if change == "folder":
        (ground.source / "more").mkdir()
    elif change == "link":
        (ground.source / "link").symlink_to("train.py")
    else:
        for number in range(_COUNT // 2):
            (ground.source / "library" / f"m{number}.py").write_text("other\n")

    assert ground.take() is None
    assert len(ground.spares) == 1


def test_a_spare_serves_one_run_however_many_ask(ground: Ground) -> None:
    ground.leave()

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(ground.take, [f"code-{number}" for number in range(8)]))

    assert sum(folder is not None for folder in taken) == 1


def test_a_script_that_writes_to_its_code_changes_no_blob_and_no_spare(
    ground: Ground, tmp_path: Path
) -> None:
    # given
    expected = laid_out(ground, tmp_path / "expected")
    ground.leave()
    taken = ground.take()
    assert taken is not None
    ground.leave()

    # when
    with (taken / "train.py").open("a") as script:
        script.write("spoilt\n")
    again = ground.take("again")

    # then
    assert again is not None
    assert content(again) == expected


@pytest.mark.parametrize("killed_after", [0.0, 0.02, 0.05, 0.1])
def test_what_a_killed_supervisor_left_is_not_taken_and_goes(
    ground: Ground, tmp_path: Path, killed_after: float
) -> None:
    # given
    _, snapshot_id = ground.snapshot()
    spares = Spares(str(ground.root))

    def leave_and_linger() -> None:
        spares.leave(snapshot_id)
        time.sleep(9)

    in_child(leave_and_linger, killed_after=killed_after)

    # when
    taken = ground.take()
    ground.leave()

    # then
    assert taken is None or content(taken) == laid_out(ground, tmp_path / "expected")
    assert [name.rpartition(".")[2] for name in ground.spares] == [snapshot_id]


def test_no_more_than_two_are_kept_the_last_ones(ground: Ground) -> None:
    left = []
    for number in range(3):
        (ground.source / "train.py").write_text(f"print({number})\n")
        left.append(ground.leave())

    assert {name.rpartition(".")[2] for name in ground.spares} == set(left[1:])


def test_one_of_another_boot_is_not_trusted_and_goes(ground: Ground) -> None:
    # given
    ground.leave()
    (name,) = ground.spares
    spares = ground.root / "spares"
    (spares / name).rename(spares / f"another-boot.{name.rpartition('.')[2]}")

    # when
    taken = ground.take()
    ground.leave()

    # then
    assert taken is None
    assert ground.spares == [name]


def test_a_blob_that_is_damaged_is_left_to_whoever_copies_it(ground: Ground) -> None:
    # given
    ground.leave()
    (ground.source / "train.py").write_text("print(2)\n")
    _, snapshot_id = ground.snapshot()
    digest = ground.store.put_bytes(b"print(2)\n")
    ground.store.path(digest).chmod(0o600)
    ground.store.path(digest).write_bytes(b"")

    # when
    taken = Spares(str(ground.root)).take(ground.store.read(snapshot_id), str(ground.root / "x"))

    # then
    assert not taken
    assert not (ground.root / "x").exists()
    assert len(ground.spares) == 1


def test_one_that_cannot_be_laid_out_leaves_nothing(ground: Ground) -> None:
    # given
    _, snapshot_id = ground.snapshot()
    digest = ground.store.put_bytes(b"VALUE = 7\n")
    ground.store.path(digest).unlink()

    # when
    def leave() -> None:
        with pytest.raises(FileNotFoundError):
            Spares(str(ground.root)).leave(snapshot_id)

    in_child(leave)

    # then
    assert [path.name for path in (ground.root / "spares").iterdir()] == ["lock"]


@pytest.mark.parametrize("name", ["../../elsewhere", "/dev/zero", "", 7])
def test_what_is_the_name_of_no_snapshot_is_not_read(ground: Ground, name: str) -> None:
    with pytest.raises(ValueError, match="not a snapshot"):
        Spares(str(ground.root)).is_worthwhile(name)


def test_a_disk_that_is_nearly_full_is_left_to_runs(ground: Ground) -> None:
    (ground.root / "spares").mkdir(parents=True)
    with mounted(ground.root / "spares", "-t", "tmpfs", "-o", "size=40k", "none"):
        ground.leave()

        assert ground.spares == []


def test_spares_may_be_removed_at_any_time(ground: Ground) -> None:
    ground.leave()
    shutil.rmtree(ground.root / "spares")

    assert ground.take() is None
    ground.leave()
    assert ground.take("again") is not None


def test_a_small_project_has_none(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    for path in (ground.source / "library").iterdir():
        path.unlink()

    ground.leave()

    assert not (ground.root / "spares").exists()


@pytest.mark.parametrize(("count", "is_left"), [(49, False), (50, True)])
def test_a_project_of_few_files_has_no_spare(
    ground: Ground, tmp_path: Path, *, count: int, is_left: bool
) -> None:
    # given
    for surplus in sorted((ground.source / "library").iterdir())[count - 2 :]:
        surplus.unlink()  # beside the two that lie elsewhere

    # when
    ground.leave()
    taken = ground.take()

    # then
    assert (taken is not None) is is_left
    if taken is not None:
        assert content(taken) == laid_out(ground, tmp_path / "expected")
