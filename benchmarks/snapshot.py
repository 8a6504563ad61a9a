"""How long snapshots take: first, unchanged and with one change, beside git on an equal tree."""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, TypeVar

from airflow_mltrain.runtime.job_agent.checkout import check_out
from airflow_mltrain.snapshots.blob_store import BlobStore
from airflow_mltrain.snapshots.snapshot import Snapshot, take_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")
_LIMIT_BYTES = 10**12
_FILES_PER_FOLDER = 100
_SETTLE_SECONDS = 0.05  # a file just written is read again, which is not what is measured


def main() -> None:
    """Print a table of medians, in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--bytes", type=int, default=2_048)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None, help="where to work; default: /tmp")
    arguments = parser.parse_args()
    rounds = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for number in range(arguments.iterations):  # a new folder each: ext4 reuses inodes slowly
            place = Path(folder) / str(number)
            rounds.append(_measure(place, arguments.files, arguments.bytes))
    figures = {name: median(figure[name] for figure in rounds) for name in rounds[0]}
    git = figures["git add -A && git write-tree"]
    print(f"{arguments.files:,} files of {arguments.bytes:,} bytes, {len(rounds)} rounds, median")
    for name, milliseconds in figures.items():
        print(f"{name:<32} {milliseconds:>9.1f} ms {milliseconds / git:>7.2f} x git's first")


def _measure(place: Path, files: int, size: int) -> dict[str, float]:
    ours, theirs, store = place / "ours", place / "theirs", BlobStore(place / "blobs")
    _make_tree(ours, files, size)
    _make_tree(theirs, files, size)
    time.sleep(_SETTLE_SECONDS)

    def take() -> Snapshot:
        return take_snapshot(
            ours, store, index_directory=place / "indexes", max_bytes=_LIMIT_BYTES
        )

    figures = {}
    first, figures["first snapshot"] = _time(take)
    assert first.stored_blobs == files
    _, figures["git add -A && git write-tree"] = _time(lambda: _add_to_git(theirs))
    again, figures["unchanged"] = _time(take)
    assert (again.snapshot_id, again.stored_blobs) == (first.snapshot_id, 0)
    (ours / "folder-0" / "file-0.py").write_bytes(b"print('changed')\n")
    changed, figures["one file changed"] = _time(take)
    assert changed.stored_blobs == 1
    manifest = changed.manifest.encode()
    copy = os.fspath(place / "copy")
    _, figures["check out"] = _time(lambda: check_out(manifest, os.fspath(store.root), copy))
    few = place / "few"
    _make_tree(few, 100, size)
    small = take_snapshot(
        few, store, index_directory=place / "indexes", max_bytes=_LIMIT_BYTES
    ).manifest.encode()
    copy = os.fspath(place / "small-copy")
    _, figures["check out 100 files"] = _time(
        lambda: check_out(small, os.fspath(store.root), copy)
    )
    return figures


def _make_tree(root: Path, files: int, size: int) -> None:
    for number in range(files):
        folder = root / f"folder-{number // _FILES_PER_FOLDER}"
        if number % _FILES_PER_FOLDER == 0:
            folder.mkdir(parents=True)
        content = os.urandom(size // 2).hex().encode()
        (folder / f"file-{number}.py").write_bytes(content)


def _add_to_git(tree: Path) -> None:
    for words in (["init", "--quiet"], ["add", "-A"], ["write-tree"]):
        subprocess.run(["git", *words], cwd=tree, check=True, stdout=subprocess.DEVNULL)


def _time(action: Callable[[], Result]) -> tuple[Result, float]:
    os.sync()  # what earlier steps still have to write is not this step's
    start = time.perf_counter()
    result = action()
    return result, (time.perf_counter() - start) * 1000


if __name__ == "__main__":
    main()
