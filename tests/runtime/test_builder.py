"""Building an environment once, whoever asks."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import platform
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mltrain.runtime.job_agent.environment.interpreter import (
    conda_platform,
    find_interpreter,
    platform_of,
)
from airflow_mltrain.runtime.job_agent.folder import JobFolder
from airflow_mltrain.runtime.job_agent.installer.tool import InstallError
from tests.fakes.installer import PlainInstaller
from tests.services.environment_cache import (
    CacheBench,
    environment_request,
    run_builder,
)
from tests.services.jobs import wait_for
from tests.services.processes import fork_server, run_together

if TYPE_CHECKING:
    from collections.abc import Sequence

_PLATFORM = platform_of(find_interpreter(None, ""))
_REQUEST = environment_request("alpha")


def test_the_log_says_what_happens(job: JobFolder, capfd: pytest.CaptureFixture[str]) -> None:
    bench = CacheBench(Path(job.root))

    code, log = run_builder(job, bench.installer, capfd)

    assert code == 0
    assert bench.is_found_whole(_REQUEST)
    first, second, third = log.splitlines()
    assert first == (
        "[mltrain] environment sklearn:3 is not on this machine yet: "
        "resolving its packages with uv"
    )
    assert second == "[mltrain] environment sklearn:3 is being built with uv"
    assert re.fullmatch(r"\[mltrain\] environment sklearn:3 was built in [0-9.]+ s, 0 MB", third)


def test_what_is_ready_is_not_built_again(
    bench: CacheBench, job: JobFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    bench.build(_REQUEST)
    capfd.readouterr()

    assert run_builder(job, bench.installer, capfd) == (0, "")
    assert len(bench.builds) == 1


def test_a_lock_that_is_known_is_not_resolved_again(bench: CacheBench) -> None:
    lock = {"packages": ["alpha==0.9"], "conda": []}

    bench.build({**_REQUEST, "locks": {_PLATFORM: lock}})

    (ready,) = bench.cache.list()
    lease = bench.cache.find({**_REQUEST, "locks": {_PLATFORM: lock}})
    assert lease is not None
    assert lease.resolved["packages"] == ["alpha==0.9"]
    assert ready["packages"] == 1
    lease.close()


def test_two_recipes_with_the_same_packages_share_one_environment(bench: CacheBench) -> None:
    other = environment_request("alpha<2", recipe_id="b" * 64)

    bench.build(_REQUEST)
    bench.build(other)

    first, second = bench.cache.find(_REQUEST), bench.cache.find(other)
    assert first is not None
    assert second is not None
    assert first.tree == second.tree
    assert second.resolved == {**first.resolved, "recipe_id": "b" * 64}
    assert len(bench.builds) == 1
    first.close()
    second.close()


def test_pip_knows_the_packages_once_it_has_built(bench: CacheBench) -> None:
    pip = dataclasses.replace(bench.installer, is_resolver=False)

    bench.build(_REQUEST, pip)
    bench.build(_REQUEST, pip)

    assert bench.is_found_whole(_REQUEST)
    assert len(bench.builds) == 1


def test_pip_throws_away_what_is_there_already(bench: CacheBench) -> None:
    other = environment_request("alpha<2", recipe_id="b" * 64)
    bench.build(_REQUEST)

    bench.build(other, dataclasses.replace(bench.installer, is_resolver=False))

    assert len(bench.builds) == 2
    assert bench.is_found_whole(other)
    assert bench.left_over() == set()
    assert len(bench.cache.list()) == 1


def test_conda_brings_a_python_of_its_own(bench: CacheBench) -> None:
    request = environment_request()
    request["recipe"]["conda"] = {"packages": ["python=3.10"], "channels": ["conda-forge"]}

    bench.build(request, dataclasses.replace(bench.installer, is_resolver=False))

    lease = bench.cache.find(request)
    assert lease is not None
    assert lease.resolved["platform"] == conda_platform()
    assert lease.resolved["python"] == platform.python_version()
    lease.close()


@pytest.mark.parametrize("is_resolver", [True, False])
def test_eight_builders_build_once(bench: CacheBench, *, is_resolver: bool) -> None:
    run_together(_build_slowly, [(bench.root, is_resolver, 0.3)] * 8)

    assert len(bench.builds) == 1
    assert bench.is_found_whole(_REQUEST)
    assert bench.left_over() == set()


def _build_slowly(work: tuple[Path, bool, float]) -> None:
    root, is_resolver, seconds = work
    bench = CacheBench(root)
    slow = dataclasses.replace(bench.installer, is_resolver=is_resolver, build_seconds=seconds)
    bench.build(_REQUEST, slow)


def test_who_waits_says_so(
    bench: CacheBench, job: JobFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    context = fork_server()
    other = context.Process(target=_build_slowly, args=((bench.root, True, 3.0),))
    other.start()
    wait_for(lambda: bench.builds)

    code, log = run_builder(job, bench.installer, capfd)

    other.join()
    assert code == 0
    assert "sklearn:3 is what another run builds already: waiting" in log
    assert len(bench.builds) == 1


def test_private_wheels_are_there_under_their_names(bench: CacheBench) -> None:
    digest, name = hashlib.sha256(b"a wheel").hexdigest(), "foo-1.0+cpu-py3-none-any.whl"
    blob = bench.root / "blobs" / digest[:2] / digest
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"a wheel")
    reference = f"foo @ mltrain-wheel:{digest}/{name}"
    request = environment_request(reference)
    installer = _Recorder(bench.installer.journal)

    bench.build(request, installer)

    url = f"file://{bench.folder}/wheels/{digest}/foo-1.0%2Bcpu-py3-none-any.whl"
    quoted = url.replace(" ", "%20").replace(";", "%3B").replace("'", "%27")
    assert installer.seen == [[f"foo @ {quoted}"], ["alpha==1", f"foo @ {quoted}"]]
    assert (bench.folder / "wheels" / digest / name).read_bytes() == b"a wheel"
    lease = bench.cache.find(request)
    assert lease is not None
    assert lease.resolved["packages"] == ["alpha==1", reference]
    lease.close()


@dataclasses.dataclass(frozen=True)
class _Recorder(PlainInstaller):
    """Keeps the package lines it was given."""

    seen: list[Sequence[str]] = dataclasses.field(default_factory=list)

    def resolve(self, recipe: dict[str, Any], *rest: Any, **more: Any) -> dict[str, Any] | None:
        self.seen.append(recipe["packages"])
        return super().resolve(recipe, *rest, **more)

    def build(
        self,
        tree: str,
        recipe: dict[str, Any],
        lock: dict[str, Any] | None,
        *rest: Any,
        **more: Any,
    ) -> dict[str, Any]:
        self.seen.append((lock or recipe)["packages"])
        return super().build(tree, recipe, lock, *rest, **more)


def test_a_private_wheel_that_never_arrived_is_named(bench: CacheBench) -> None:
    request = environment_request(f"foo @ mltrain-wheel:{'c' * 64}/foo-1.0-py3-none-any.whl")

    with pytest.raises(InstallError, match="c" * 64):
        bench.build(request)


def test_room_is_made_once_there_is_a_new_one(bench: CacheBench) -> None:
    bench.build(_REQUEST)
    bench.build(
        environment_request("beta", name="lately used", recipe_id="b" * 64),
        PlainInstaller(bench.installer.journal, lock=("beta==1",)),
    )
    (oldest,) = bench.folder.glob(f"{_key_of(bench, 'sklearn:3')}.json")
    os.utime(oldest, (time.time() - 3600, time.time() - 3600))

    bench.build(
        environment_request("gamma", name="new", recipe_id="c" * 64, max_cache_bytes=1),
        PlainInstaller(bench.installer.journal, lock=("gamma==1",)),
    )

    assert [one["name"] for one in bench.cache.list()] == ["new", "lately used"]


def _key_of(bench: CacheBench, name: str) -> str:
    (found,) = [one for one in bench.cache.list() if one["name"] == name]
    return str(found["key"])
