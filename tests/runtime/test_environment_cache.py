"""Finding what is ready on a machine, and only that."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest

from airflow_mltrain.runtime.job_agent.environment.interpreter import (
    InterpreterNotFoundError,
    find_interpreter,
    platform_of,
)
from tests.services.environment_cache import (
    CacheBench,
    environment_request,
)
from tests.services.mount import mounted

_PLATFORM = platform_of(find_interpreter(None, ""))
_REQUEST = environment_request("alpha")
_OTHER = environment_request("beta", name="other", recipe_id="b" * 64)


def found_key(bench: CacheBench, request: dict[str, Any]) -> str:
    lease = bench.cache.find(request)
    assert lease is not None
    lease.close()
    return str(lease.resolved["key"])


def damage_marker(bench: CacheBench, content: str) -> None:
    (bench.folder / f"{found_key(bench, _REQUEST)}.json").write_text(content)


def test_what_nobody_built_is_not_found(bench: CacheBench) -> None:
    assert bench.cache.find(_REQUEST) is None
    assert bench.cache.list() == []
    assert bench.cache.collect(0) == []
    assert not bench.folder.exists()


def test_what_is_ready_is_found_with_what_is_in_it(bench: CacheBench) -> None:
    bench.build(_REQUEST)

    lease = bench.cache.find(_REQUEST)

    assert lease is not None
    assert os.access(f"{lease.tree}/bin/python", os.X_OK)
    assert lease.resolved == {
        "key": found_key(bench, _REQUEST),
        "recipe_id": _REQUEST["recipe_id"],
        "platform": _PLATFORM,
        "python": find_interpreter(None, "").version,
        "packages": ["alpha==1"],
        "conda": [],
    }
    lease.close()


def test_what_the_run_history_knows_wins_over_what_the_machine_does(bench: CacheBench) -> None:
    bench.build(_REQUEST)
    locks = {_PLATFORM: {"packages": ["alpha==2"], "conda": []}}

    assert bench.cache.find({**_REQUEST, "locks": locks}) is None
    bench.build({**_REQUEST, "locks": locks})

    lease = bench.cache.find({**_REQUEST, "locks": locks})
    assert lease is not None
    assert lease.resolved["packages"] == ["alpha==2"]
    lease.close()


def test_a_python_that_is_missing_is_said_at_once(bench: CacheBench) -> None:
    with pytest.raises(InterpreterNotFoundError, match=r"no Python 3\.99"):
        bench.cache.find(environment_request(python="3.99"), may_search=True)


def test_the_list_says_what_each_is_and_takes(bench: CacheBench) -> None:
    before = time.time()
    bench.build(_REQUEST)
    lease = bench.cache.find(_REQUEST)
    assert lease is not None

    (found,) = bench.cache.list()

    assert before <= found.pop("built_at") <= found.pop("last_used_at") + 0.1
    assert found.pop("bytes") >= 5 * 4096
    assert found == {
        "key": lease.resolved["key"],
        "name": "sklearn:3",
        "python": find_interpreter(None, "").version,
        "platform": _PLATFORM,
        "packages": 1,
        "is_in_use": True,
    }
    lease.close()


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", "{}", '{"tree": "../../..", "name": "", "resolved": {"key": ""}}'],
)
def test_a_damaged_marker_is_none(bench: CacheBench, content: str) -> None:
    bench.build(_REQUEST)

    damage_marker(bench, content)

    assert bench.cache.find(_REQUEST) is None
    assert bench.cache.list() == []
    bench.build(_REQUEST)
    assert bench.is_found_whole(_REQUEST)
    assert bench.left_over() == set()


def test_a_marker_never_leads_out_of_the_cache(bench: CacheBench) -> None:
    bench.build(_REQUEST)
    marker = json.loads((bench.folder / f"{found_key(bench, _REQUEST)}.json").read_text())
    damage_marker(bench, json.dumps({**marker, "tree": "../../precious"}))
    (bench.root / "precious").mkdir()

    bench.cache.collect(0)

    assert bench.cache.find(_REQUEST) is None
    assert (bench.root / "precious").is_dir()


@pytest.mark.parametrize("content", ["", "[]", '{"packages": "alpha", "conda": []}', '{"conda"'])
def test_a_damaged_lock_is_none(bench: CacheBench, content: str) -> None:
    bench.build(_REQUEST)
    (lock,) = (bench.folder / "locks").glob("*.json")

    lock.write_text(content)

    assert bench.cache.find(_REQUEST) is None
    bench.build(_REQUEST)
    assert bench.is_found_whole(_REQUEST)
    assert len(bench.builds) == 1


def test_an_environment_that_somebody_emptied_is_not_ready(bench: CacheBench) -> None:
    bench.build(_REQUEST)
    (tree,) = bench.trees.iterdir()
    (tree / "bin" / "python").unlink()

    assert bench.cache.find(_REQUEST) is None
    bench.build(_REQUEST)

    assert bench.is_found_whole(_REQUEST)
    bench.cache.collect(None)
    assert not tree.exists()


def test_a_cache_that_cannot_be_written_gives_what_is_ready(bench: CacheBench) -> None:
    bench.build(_REQUEST)
    bench.cache.collect(None)
    with mounted(bench.folder, "--bind", "--options", "ro", str(bench.folder)):
        lease = bench.cache.find(_REQUEST)
        listed = bench.cache.list()
        unknown = bench.cache.find(_OTHER)
        removed = bench.cache.collect(0)

    assert lease is not None
    assert [one["is_in_use"] for one in listed] == [True]
    assert unknown is None
    assert removed == []
    lease.close()
