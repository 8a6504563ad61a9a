"""What artifacts on S3 cost, beside a folder and beside `s3fs.put` of the same files.

The server is the one of the tests, on the loopback interface and in one process: it is slower than
a real one at much, and nearer than any. Read what is sent and how often it is asked.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).parents[1]))
import s3fs

from airflow_mltrain import Workspace
from airflow_mltrain.artifacts.opening import open_store
from airflow_mltrain.artifacts.store import ArtifactStore
from airflow_mltrain.retention import collect_artifacts
from airflow_mltrain.settings import Settings, StoreUrl
from tests.services.object_store import ObjectStore, start_object_store

_MEGABYTE = 1 << 20


def main() -> None:
    """Print a table of medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1_000)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--snapshots", type=int, default=200, help="in a store that is cleared")
    parser.add_argument("--delay", type=float, default=20.0, help="ms a request then takes longer")
    arguments = parser.parse_args()
    print(f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} load {os.getloadavg()[0]:.1f}")
    server = start_object_store()
    try:
        os.environ.update(server.variables())
        with tempfile.TemporaryDirectory() as folder:
            _measure(Path(folder), server, arguments)
    finally:
        server.close()


def _measure(folder: Path, server: ObjectStore, arguments: argparse.Namespace) -> None:
    project, output = folder / "project", folder / "model"
    for number in range(arguments.files):
        path = project / f"package_{number // 100}" / f"module_{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"VALUE = {number}\n" * 100)
        os.utime(path, (1_700_000_000, 1_700_000_000))
    time.sleep(0.1)
    with output.open("wb") as file:
        for _ in range(arguments.megabytes):
            file.write(os.urandom(_MEGABYTE))
    settings = Settings("", folder / "artifacts", folder / "local")
    remote = replace(
        settings, artifacts=folder / "cache", artifacts_url=StoreUrl("s3", server.new_prefix())
    )
    local_store, s3_store = open_store(settings), open_store(remote)
    plain = s3fs.S3FileSystem()

    def submit(store: ArtifactStore) -> None:
        with store.used():
            store.take_snapshot(project, max_bytes=2**40)

    def keep(store: ArtifactStore) -> None:
        with store.keep_run(uuid4().hex) as draft:
            (draft / "outputs").mkdir()
            (draft / "outputs/model").hardlink_to(output)

    def put(what: Path) -> None:
        plain.put(f"{what}", f"{server.new_prefix()}/{what.name}", recursive=what.is_dir())

    rows: list[tuple[str, Callable[[], None]]] = [
        ("snapshot, folder, first", lambda: submit(local_store)),
        ("snapshot, S3, first", lambda: submit(s3_store)),
    ]
    for name, act in rows:
        _show(name, [_time(server, act)])
    project_rows: list[tuple[str, Callable[[], None]]] = [
        ("snapshot, folder, unchanged", lambda: submit(local_store)),
        ("snapshot, S3, unchanged", lambda: submit(s3_store)),
        ("s3fs.put of the project", lambda: put(project)),
        ("output, folder", lambda: keep(local_store)),
        ("output, S3", lambda: keep(s3_store)),
        ("s3fs.put of the output", lambda: put(output)),
    ]
    for name, act in project_rows:
        _show(name, [_time(server, act) for _ in range(arguments.iterations)])
    _measure_clearing(folder, server, arguments)


def _measure_clearing(folder: Path, server: ObjectStore, arguments: argparse.Namespace) -> None:
    """A store of many small snapshots, by a machine that has none of them."""
    project = folder / "small project"
    project.mkdir()
    url = StoreUrl("s3", server.new_prefix())
    settings = Settings(f"sqlite:///{folder}/history.db", folder, folder, artifacts_url=url)
    store = open_store(replace(settings, artifacts=folder / "small cache"))
    with store.used():
        for number in range(arguments.snapshots):
            (project / "train.py").write_text(f"print({number})")
            store.take_snapshot(project, max_bytes=2**40)

    def clear() -> None:
        server.strike = lambda _seen, _number: time.sleep(arguments.delay / 1000)
        collect_artifacts(Workspace(replace(settings, artifacts=folder / uuid4().hex)))

    Workspace(settings).history.list_runs()
    name = f"clearing, {arguments.snapshots} snapshots, {arguments.delay:g} ms"
    _show(name, [_time(server, clear) for _ in range(arguments.iterations)])


def _time(server: ObjectStore, act: Callable[[], None]) -> tuple[float, int, int]:
    server.forget()
    began = time.perf_counter()
    act()
    seconds = time.perf_counter() - began
    return seconds, len(server.seen), sum(seen.body_bytes for seen in server.seen)


def _show(name: str, figures: list[tuple[float, int, int]]) -> None:
    seconds, requests, sent = (median(column) for column in zip(*figures, strict=True))
    print(f"{name:<35} {seconds:>8.3f} s {requests:>6.0f} requests {sent / 1e6:>8.2f} MB sent")


if __name__ == "__main__":
    main()
