"""Making room in an environment cache, and what must stay."""

from __future__ import annotations

import itertools
import json
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mltrain.runtime.job_agent.environment.cache import EnvironmentCache
from airflow_mltrain.runtime.job_agent.environment.tree import open_draft
from tests.fakes.installer import PlainInstaller
from tests.services.environment_cache import (
    CacheBench,
    environment_request,
    kill_at_step,
)
from tests.services.processes import fork_server, run_together

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

_REQUEST = environment_request("alpha")
_OTHER = environment_request("beta", name="other", recipe_id="b" * 64)


@pytest.fixture
def full_bench(bench: CacheBench) -> CacheBench:
    """Two environments are ready, of which `_REQUEST` was used an hour before `_OTHER`."""
    bench.build(_REQUEST)
    bench.build(_OTHER, PlainInstaller(bench.installer.journal, lock=("beta==1",)))
    key = found_key(bench, _REQUEST)
    marker = bench.folder / f"{key}.json"
    os.utime(marker, (time.time() - 3600, time.time() - 3600))
    return bench


def found_key(bench: CacheBench, request: dict[str, Any]) -> str:
    lease = bench.cache.find(request)
    assert lease is not None
    lease.close()
    return str(lease.resolved["key"])


def test_what_is_in_use_is_never_removed(bench: CacheBench) -> None:
    bench.build(_REQUEST)
    lease = bench.cache.find(_REQUEST)
    assert lease is not None

    assert bench.cache.collect(0) == []
    assert bench.is_found_whole(_REQUEST)
    lease.close()

    (removed,) = bench.cache.collect(0)
    assert removed["key"] == lease.resolved["key"]
    assert list(bench.trees.iterdir()) == []
    assert bench.cache.find(_REQUEST) is None


def test_several_may_use_one(bench: CacheBench) -> None:
    bench.build(_REQUEST)
    first, second = bench.cache.find(_REQUEST), bench.cache.find(_REQUEST)
    assert first is not None
    assert second is not None

    first.close()

    assert bench.cache.collect(0) == []
    second.close()
    assert len(bench.cache.collect(0)) == 1


def test_a_lease_ends_with_its_process(bench: CacheBench) -> None:
    bench.build(_REQUEST)
    context = fork_server()
    ready, ready_end = context.Pipe(duplex=False)
    holder = context.Process(target=_hold_forever, args=(str(bench.folder), ready_end))
    holder.start()
    assert ready.poll(60)
    assert bench.cache.collect(0) == []

    holder.kill()
    holder.join()

    assert len(bench.cache.collect(0)) == 1


def _hold_forever(folder: str, ready: Connection) -> None:
    lease = EnvironmentCache(folder).find(_REQUEST)
    ready.send(lease is not None)
    signal.pause()


def test_finding_is_a_use(full_bench: CacheBench) -> None:
    assert [one["name"] for one in full_bench.cache.list()] == ["other", "sklearn:3"]

    found_key(full_bench, _REQUEST)

    assert [one["name"] for one in full_bench.cache.list()] == ["sklearn:3", "other"]


def test_the_least_recently_used_goes_first(full_bench: CacheBench) -> None:
    total = sum(one["bytes"] for one in full_bench.cache.list())

    assert full_bench.cache.collect(total) == []
    removed = full_bench.cache.collect(total - 1)

    assert [one["name"] for one in removed] == ["sklearn:3"]
    assert [one["name"] for one in full_bench.cache.list()] == ["other"]
    assert full_bench.is_found_whole(_OTHER)
    assert full_bench.left_over() == set()


def test_without_a_limit_all_stay(full_bench: CacheBench) -> None:
    assert full_bench.cache.collect(None) == []
    assert len(full_bench.cache.list()) == 2


def test_what_was_used_lately_may_be_spared(full_bench: CacheBench) -> None:
    removed = full_bench.cache.collect(0, idle_seconds=60)

    assert [one["name"] for one in removed] == ["sklearn:3"]


def test_a_dry_run_removes_nothing(full_bench: CacheBench) -> None:
    with open_draft(str(full_bench.trees)) as draft:
        draft.is_kept = True
        Path(draft.path).mkdir()

    removed = full_bench.cache.collect(0, is_dry_run=True)

    assert [one["name"] for one in removed] == [None, "sklearn:3", "other"]
    assert full_bench.is_found_whole(_REQUEST)
    assert Path(draft.path).exists()


def test_what_a_dead_builder_left_goes_without_a_limit_too(bench: CacheBench) -> None:
    bench.build(_REQUEST)
    with open_draft(str(bench.trees)) as draft:
        draft.is_kept = True
        Path(draft.path, "lib").mkdir(parents=True)
        Path(draft.path, "lib", "file").write_bytes(b"x" * 10_000)

    (removed,) = bench.cache.collect(None)

    assert removed["key"] is None
    assert removed["bytes"] >= 10_000
    assert bench.left_over() == set()
    assert bench.is_found_whole(_REQUEST)


def test_what_a_builder_works_on_is_no_garbage(bench: CacheBench) -> None:
    with open_draft(str(bench.trees)) as draft:
        Path(draft.path).mkdir()

        assert bench.cache.collect(0) == []
        assert Path(draft.path).is_dir()
        assert Path(draft.work).is_dir()

    assert list(bench.trees.iterdir()) == []


def test_a_tree_that_a_newer_agent_made_ready_is_no_garbage(bench: CacheBench) -> None:
    bench.build(_REQUEST)
    marker = bench.folder / f"{found_key(bench, _REQUEST)}.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "signature": "new"}))

    assert bench.cache.collect(0) == []
    assert len([path for path in bench.trees.iterdir() if path.is_dir()]) == 1


@pytest.fixture
def unprivileged_bench() -> Iterator[CacheBench]:
    """In a folder of a user who is bound by permissions; the tests' user may not be."""
    with tempfile.TemporaryDirectory() as folder:
        nobody = 65534
        os.chown(folder, nobody if os.geteuid() == 0 else -1, -1)
        was = os.geteuid()
        os.seteuid(nobody if was == 0 else was)
        try:
            yield CacheBench(Path(folder) / "root")
        finally:
            os.seteuid(was)


def test_what_a_job_protected_is_removed_all_the_same(unprivileged_bench: CacheBench) -> None:
    bench = unprivileged_bench
    bench.build(_REQUEST)
    lease = bench.cache.find(_REQUEST)
    assert lease is not None
    lease.close()
    tree = Path(lease.tree)
    for folder in (tree / "bin", tree):
        folder.chmod(0)
    tree.chmod(0o500)

    removed = bench.cache.collect(0)

    assert [one["key"] for one in removed] == [lease.resolved["key"]]
    assert list(bench.trees.iterdir()) == []


def test_several_may_make_room_at_once(full_bench: CacheBench) -> None:
    lease = full_bench.cache.find(_REQUEST)
    assert lease is not None

    removed = run_together(_collect_all, [str(full_bench.folder)] * 4)

    keys = list(itertools.chain.from_iterable(removed))
    assert [key for key in keys if key is not None] == [
        one for one in keys if one and one != lease.resolved["key"]
    ]
    assert len([key for key in keys if key is not None]) == 1
    assert full_bench.is_found_whole(_REQUEST)
    lease.close()
    full_bench.cache.collect(None)
    assert full_bench.left_over() == set()


def _collect_all(folder: str) -> list[str | None]:
    return [one["key"] for one in EnvironmentCache(folder).collect(0)]


def test_who_makes_room_may_be_killed_at_any_step(tmp_path: Path) -> None:
    for step in itertools.count(1):
        bench = CacheBench(tmp_path / str(step))
        bench.build(_REQUEST)
        with open_draft(str(bench.trees)) as draft:
            draft.is_kept = True
            Path(draft.path).mkdir()

        if not kill_at_step(_make_room, bench.root, step):
            break

        bench.is_found_whole(_REQUEST)
        bench.cache.collect(0)
        assert bench.cache.list() == []
        assert list(bench.trees.iterdir()) == []
    assert step > 10


def _make_room(root: Path) -> None:
    CacheBench(root).cache.collect(0)
