"""What every artifact store promises, wherever it lies."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from airflow_mltrain.artifacts.opening import open_store
from airflow_mltrain.artifacts.store import ArtifactStore
from airflow_mltrain.errors import ArtifactError
from airflow_mltrain.settings import Settings, StoreUrl
from tests.services.patience import PATIENCE_SECONDS

_DAY_SECONDS = 24 * 3600.0

_HOSTILE = (
    *("plain", "with space", 'it\'s "quoted"', "100%", "%41", "a+b", "new\nline", ".hidden"),
    *("..two", "ünïcode", "日本", "q?versionId=1", "#[x]*{y}", "tab\t", "back\\slash", "~", "-r"),
    *("x" * 240, os.fsdecode(b"not \xff utf-8")),
)

Opening = Callable[[], ArtifactStore]


@pytest.fixture(params=["folder", "s3", "memory", "local"])
def opening(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> Opening:
    """Opens the same store again and again, each time as another machine would."""
    if request.param == "folder":
        return lambda: open_store(settings)
    if request.param == "s3":
        place = request.getfixturevalue("object_store").new_prefix()
    else:
        place = uuid4().hex if request.param == "memory" else f"{tmp_path}/far away"
    url = StoreUrl(request.param, place)

    def open_elsewhere() -> ArtifactStore:
        cache = tmp_path / "caches" / uuid4().hex
        return open_store(replace(settings, artifacts_url=url, artifacts=cache))

    return open_elsewhere


@pytest.fixture
def store(opening: Opening) -> ArtifactStore:
    return opening()


def keep(store: ArtifactStore, run_id: str, files: dict[str, bytes]) -> None:
    with store.keep_run(run_id) as folder:
        for name, content in {"log": b"", **files}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def test_a_run_comes_back_byte_for_byte(opening: Opening, tmp_path: Path) -> None:
    files = {f"outputs/{name}": f"content of {name!r}".encode() for name in _HOSTILE}
    files |= {"log": b"line\n" * 1000, "outputs/empty": b"", "logs/deep/er": b"\x00\xff"}
    keep(opening(), "run_1", files)

    kept = opening().find_run("run_1")

    assert kept is not None
    assert {file.name: file.size_bytes for file in kept.list_files()} == {
        name: len(content) for name, content in files.items()
    }
    assert {name: kept.read(name) for name in files} == files
    for number, name in enumerate(files):
        kept.copy(name, tmp_path / str(number))
    copies = [(tmp_path / str(number)).read_bytes() for number in range(len(files))]
    assert copies == list(files.values())
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


def test_so_much_of_a_log_is_read_as_was_asked_for(store: ArtifactStore) -> None:
    keep(store, "run_1", {"log": b"0123456789"})

    kept = store.find_run("run_1")

    assert kept is not None
    assert (kept.read("log", 3, 4), kept.read("log", 8), kept.read("log", 8, 100)) == (
        b"3456",
        b"89",
        b"89",
    )
    assert (kept.read("log", 10, 5), kept.size("log"), kept.size("none")) == (b"", 10, None)


def test_a_run_is_kept_whole_or_not_at_all(store: ArtifactStore) -> None:
    keeping = store.keep_run("run_1")
    (keeping.__enter__() / "log").write_text("half")

    keeping.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)

    assert store.find_run("run_1") is None
    assert store.run_ids() == []


def test_what_was_removed_while_it_was_filled_is_not_kept_as_if_it_were_whole(
    store: ArtifactStore,
) -> None:
    # given: one who sleeps for two days, and others who take the folder for a killed process's
    keeping = store.keep_run("run_1")
    folder = keeping.__enter__()
    (folder / "log").write_text("all of it")
    then = time.time() - 2 * _DAY_SECONDS
    os.utime(folder, (then, then))
    keep(store, "run_2", {})
    with store.alone(PATIENCE_SECONDS):
        store.remove_drafts(time.time() - _DAY_SECONDS)
    assert not folder.exists()

    # when: the one wakes up, and fetches what is left to fetch
    (folder / "outputs").mkdir(parents=True)
    (folder / "outputs/model").write_text("the rest")
    with pytest.raises(ArtifactError, match="run_1 could not be stored"):
        keeping.__exit__(None, None, None)

    # then
    assert store.run_ids() == ["run_2"]
    keep(store, "run_1", {"outputs/model": b"the rest"})
    assert store.run_ids() == ["run_1", "run_2"]


def test_whoever_keeps_a_run_second_changes_nothing(opening: Opening) -> None:
    one, two = opening(), opening()
    with one.keep_run("run_1") as second:
        (second / "log").write_text("second")
        keep(two, "run_1", {"log": b"first"})
    keep(one, "run_1", {"log": b"third"})

    kept = opening().find_run("run_1")

    assert kept is not None
    assert kept.read("log") == b"first"
    assert one.run_ids() == ["run_1"]


def test_folders_links_and_modes_of_outputs_are_kept(opening: Opening) -> None:
    with opening().keep_run("run_1") as folder:
        (folder / "outputs/empty").mkdir(parents=True)
        (folder / "outputs/run").write_text("#!/bin/sh")
        (folder / "outputs/run").chmod(0o750)
        (folder / "outputs/latest").symlink_to("run")
        (folder / "log").touch()

    kept = opening().find_run("run_1")

    assert kept is not None
    assert kept.has_outputs
    listed = {file.name: file.is_link for file in kept.list_files()}
    assert listed == {"log": False, "outputs/latest": True, "outputs/run": False}
    assert kept.read("outputs/latest") == b"#!/bin/sh"
    with kept.outputs_folder() as outputs:
        assert (outputs / "empty").is_dir()
        assert (outputs / "run").stat().st_mode & 0o777 == 0o750
        assert (outputs / "latest").readlink() == Path("run")


def test_a_run_without_outputs_says_so(store: ArtifactStore) -> None:
    with store.keep_run("run_1") as folder:
        (folder / "outputs").mkdir()

    kept = store.find_run("run_1")

    assert kept is not None
    assert not kept.has_outputs


def test_a_snapshot_is_laid_out_on_another_machine(opening: Opening, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "package").mkdir(parents=True)
    (project / "train.py").write_text("print('good')")
    (project / "package" / "large").write_bytes(os.urandom(5 << 20))
    with opening().used():
        snapshot = opening().take_snapshot(project, max_bytes=2**40)

    opening().restore_snapshot(snapshot.snapshot_id, tmp_path / "restored")

    assert (tmp_path / "restored/train.py").read_text() == "print('good')"
    large = (tmp_path / "restored/package/large").read_bytes()
    assert large == (project / "package" / "large").read_bytes()


def test_blobs_are_found_by_their_content(opening: Opening, tmp_path: Path) -> None:
    (tmp_path / "wheel").write_bytes(b"wheel")
    one = opening().blobs
    digests = {one.put_bytes(b"diff"), one.put_file(tmp_path / "wheel")[0]}

    two = opening().blobs

    assert two.missing([*digests, "0" * 64]) == {"0" * 64}
    assert {path.read_bytes() for path in two.paths(digests).values()} == {b"diff", b"wheel"}
    with pytest.raises(ArtifactError, match="0000"):
        two.read("0" * 64)


def test_nobody_clears_a_store_that_is_used(opening: Opening) -> None:
    with opening().used(), opening().alone(0.0) as is_alone:
        assert not is_alone

    with opening().alone(0.0) as is_alone:
        assert is_alone
    with opening().used():
        pass


def test_a_removed_run_is_gone_with_all_that_it_had(opening: Opening) -> None:
    keep(opening(), "run_1", {"outputs/a": b"a"})
    keep(opening(), "run_2", {"outputs/a": b"a"})

    store = opening()
    with store.alone(5.0) as is_alone:
        assert is_alone
        store.remove_run("run_1")
        store.remove_drafts(store.now() + 5)

    assert opening().run_ids() == ["run_2"]
    assert opening().find_run("run_1") is None
    kept = opening().find_run("run_2")
    assert kept is not None
    assert kept.read("outputs/a") == b"a"


def test_a_machine_that_knew_another_store_sends_everything(
    settings: Settings, tmp_path: Path
) -> None:
    # given: one project, and one cache
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text("print('trained')")
    first, second = (
        replace(settings, artifacts_url=StoreUrl("local", f"{tmp_path}/{name}"))
        for name in ("first", "second")
    )
    open_store(first).take_snapshot(project, max_bytes=1_000_000)

    # when
    snapshot = open_store(second).take_snapshot(project, max_bytes=1_000_000)

    # then
    elsewhere = open_store(replace(second, artifacts=tmp_path / "cache elsewhere"))
    elsewhere.restore_snapshot(snapshot.snapshot_id, tmp_path / "restored")
    assert (tmp_path / "restored/train.py").read_text() == "print('trained')"
