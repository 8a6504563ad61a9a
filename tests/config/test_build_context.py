"""A directory that an image is built from, kept in the workspace."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain import DockerBuildContext, Environment, Workspace
from airflow_mltrain.errors import ConfigurationError, SnapshotError
from airflow_mltrain.snapshots.manifest import Manifest

if TYPE_CHECKING:
    from airflow_mltrain.settings import Settings


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    root = tmp_path / "image"
    (root / "a").mkdir(parents=True)
    (root / "b").mkdir()
    (root / "Dockerfile").write_text("FROM python:3.12\nCOPY . /opt\n")
    (root / "a" / "conf.txt").write_text("a")
    (root / "b" / "conf.txt").write_text("b")
    return root


def test_a_directory_is_kept_with_the_paths_that_its_files_have(
    workspace: Workspace, directory: Path
) -> None:
    context = DockerBuildContext.from_local_directory(workspace, str(directory))

    assert _kept_files(workspace, context) == {"Dockerfile", "a/conf.txt", "b/conf.txt"}
    assert context.dockerfile_path == "Dockerfile"
    assert context.location == str(directory)


def test_what_its_dockerignore_names_is_not_kept(workspace: Workspace, directory: Path) -> None:
    (directory / ".dockerignore").write_text("a\n")
    (directory / ".amlignore").write_text("b\n")
    (directory / ".git").mkdir()
    (directory / ".git" / "HEAD").touch()

    context = DockerBuildContext.from_local_directory(workspace, directory)

    assert _kept_files(workspace, context) == {
        *("Dockerfile", "b/conf.txt", ".dockerignore", ".amlignore", ".git/HEAD")
    }


def test_equal_directories_are_one_and_a_changed_one_is_another(
    workspace: Workspace, directory: Path
) -> None:
    first = DockerBuildContext.from_local_directory(workspace, directory)
    again = DockerBuildContext.from_local_directory(workspace, directory)
    (directory / "a" / "conf.txt").rename(directory / "a" / "renamed.txt")

    changed = DockerBuildContext.from_local_directory(workspace, directory)

    assert first == again
    assert changed.snapshot_id != first.snapshot_id


def test_a_dockerfile_may_have_another_name_and_lie_deeper(
    workspace: Workspace, directory: Path
) -> None:
    (directory / "a" / "gpu.Dockerfile").write_text("from scratch\n")
    (directory / "a" / "gpu.Dockerfile.dockerignore").write_text("*\n")

    context = DockerBuildContext.from_local_directory(workspace, directory, "./a/gpu.Dockerfile")

    assert context.dockerfile_path == "a/gpu.Dockerfile"
    assert _kept_files(workspace, context) == {
        *("a/gpu.Dockerfile", "a/gpu.Dockerfile.dockerignore")
    }


@pytest.mark.parametrize(
    ("path", "dockerfile_path", "fault"),
    [
        ("nowhere", "Dockerfile", "nowhere does not exist; give a directory that this process"),
        ("a/conf.txt", "Dockerfile", "conf.txt is not a directory; give the directory"),
        ("a", "Dockerfile", "Dockerfile is not in .*/a; add it, or say with dockerfile_path"),
        (".", "a", "/a is not a file; name the Dockerfile"),
        (".", "../Dockerfile", "it should lie inside the directory, without '..'"),
        (".", "/Dockerfile", "it should be relative to the directory"),
        (".", ".", "it should name a file"),
        (".", "a/conf.txt", "a/conf.txt: it should have a FROM"),
        (".", "leaving", "/leaving is a link to .*, outside the directory; copy the file into it"),
        (".", "circle", "/circle cannot be looked at: "),
    ],
)
def test_what_no_image_can_be_built_from_is_refused_with_its_path_and_the_remedy(
    workspace: Workspace, directory: Path, path: str, dockerfile_path: str, fault: str
) -> None:
    (directory.parent / "Dockerfile").write_text("FROM scratch\n")
    (directory / "leaving").symlink_to("../Dockerfile")
    (directory / "circle").symlink_to("circle")

    with pytest.raises(ConfigurationError, match=fault):
        DockerBuildContext.from_local_directory(workspace, directory / path, dockerfile_path)


def test_a_home_directory_that_nothing_expanded_is_pointed_out(workspace: Workspace) -> None:
    with pytest.raises(ConfigurationError, match="and ~ is not expanded"):
        DockerBuildContext.from_local_directory(workspace, "~/image")


def test_a_directory_that_is_too_large_is_refused_with_its_largest_files(
    settings: Settings, directory: Path
) -> None:
    os.truncate(directory / "a" / "conf.txt", 2_000_000)
    workspace = Workspace(replace(settings, snapshot_max_megabytes=1))

    with pytest.raises(SnapshotError) as refusal:
        DockerBuildContext.from_local_directory(workspace, directory)

    assert "the largest files are a/conf.txt (2.0 MB)" in str(refusal.value)
    assert "Name what is not needed in .dockerignore" in str(refusal.value)


@pytest.mark.parametrize("snapshot_id", ["", "0" * 63, "A" * 64, "latest"])
def test_what_is_no_snapshot_is_no_context(snapshot_id: str) -> None:
    with pytest.raises(ConfigurationError, match=r"snapshot_id: .* it should be 64 digits"):
        DockerBuildContext(snapshot_id=snapshot_id)


def test_an_environment_is_registered_and_saved_with_its_context(
    workspace: Workspace, directory: Path, tmp_path: Path
) -> None:
    context = DockerBuildContext.from_local_directory(workspace, directory)
    environment = Environment.from_docker_build_context("mine", context)

    environment.register(workspace)
    environment.save_to_directory(tmp_path / "saved")

    assert Environment.get(workspace, "mine").docker.build_context == context
    assert Environment.load_from_directory(tmp_path / "saved") == environment


def _kept_files(workspace: Workspace, context: DockerBuildContext) -> set[str]:
    blobs = workspace.artifacts.blobs
    entries = Manifest.decode(blobs.read(context.snapshot_id)).entries
    assert not blobs.missing(entry.sha256 for entry in entries if entry.sha256)
    return {entry.path for entry in entries if entry.kind == "file"}
