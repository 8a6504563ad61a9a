"""Git as annotation: what it says, and that it never stands in the way."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from airflow_mltrain.snapshots.git import GitAnnotation, start_git_annotation
from tests.services.patience import PATIENCE_SECONDS

_TOKEN = "ghp_0123456789"  # noqa: S105 - it opens nothing
_STAND_IN = """#!/bin/sh
echo $$ >> {pids}
exec sleep 60
"""


@pytest.fixture(autouse=True)
def _own_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("GIT_", "AZUREML_GIT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.com")


@pytest.fixture
def repository(source: Path) -> Path:
    """The small project, committed on `main`."""
    _git(source, "init", "--quiet", "--initial-branch=main")
    _git(source, "add", "-A")
    _git(source, "commit", "--quiet", "--message=Start")
    return source


def test_a_clean_repository_is_named_as_azure_ml_names_it(repository: Path) -> None:
    # given
    _git(repository, "remote", "add", "origin", "https://example.com/churn.git")
    commit = _git(repository, "rev-parse", "HEAD").strip()
    # when
    annotation = _annotate(repository)
    # then
    assert annotation == GitAnnotation(
        {
            "azureml.git.repository_uri": "https://example.com/churn.git",
            "azureml.git.branch": "main",
            "azureml.git.commit": commit,
            "azureml.git.dirty": "False",
            "mlflow.source.git.repoURL": "https://example.com/churn.git",
            "mlflow.source.git.branch": "main",
            "mlflow.source.git.commit": commit,
        },
        b"",
    )


def test_uncommitted_changes_are_a_patch_that_applies(repository: Path, tmp_path: Path) -> None:
    # given
    _git(tmp_path, "clone", "--quiet", str(repository), "clone")
    (repository / "train.py").write_text("print('changed')\n")
    (repository / "weights").write_bytes(bytes(range(256)))
    _git(repository, "add", "weights")
    # when
    annotation = _annotate(repository / "model" / "..")
    # then
    _git(tmp_path / "clone", "apply", stdin=annotation.diff)
    assert annotation.properties["azureml.git.dirty"] == "True"
    assert (tmp_path / "clone" / "train.py").read_text() == "print('changed')\n"
    assert (tmp_path / "clone" / "weights").read_bytes() == bytes(range(256))


def test_an_untracked_file_makes_a_repository_dirty(repository: Path) -> None:
    # given
    (repository / "new.py").touch()
    # when
    annotation = _annotate(repository)
    # then
    assert annotation.properties["azureml.git.dirty"] == "True"
    assert annotation.diff == b""


def test_only_the_source_directory_counts(repository: Path) -> None:
    # given
    (repository / "train.py").write_text("print('changed')\n")
    # when
    annotation = _annotate(repository / "model")
    # then
    assert annotation.properties["azureml.git.dirty"] == "False"
    assert annotation.diff == b""


def test_a_detached_head_has_a_commit_and_no_branch(repository: Path) -> None:
    # given
    _git(repository, "checkout", "--quiet", "--detach")
    # when
    properties = _annotate(repository).properties
    # then
    assert "azureml.git.branch" not in properties
    assert "mlflow.source.git.branch" not in properties
    assert len(properties["azureml.git.commit"]) == 40


def test_a_repository_without_commits_has_a_branch_and_is_dirty(source: Path) -> None:
    # given
    _git(source, "init", "--quiet", "--initial-branch=main")
    # when
    annotation = _annotate(source)
    # then
    assert annotation == GitAnnotation(
        {
            "azureml.git.branch": "main",
            "azureml.git.dirty": "True",
            "mlflow.source.git.branch": "main",
        },
        b"",
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"https://ada:{_TOKEN}@example.com/churn.git", "https://example.com/churn.git"),
        (f"https://{_TOKEN}@example.com/churn.git", "https://example.com/churn.git"),
        (f"https://ada:{_TOKEN}@example.com:8443/a", "https://example.com:8443/a"),
        (f"https://example.com/churn.git?token={_TOKEN}", "https://example.com/churn.git"),
        (f"https://ada:{_TOKEN}/x@example.com/churn.git", None),
        (f"ssh://git:{_TOKEN}@example.com/churn.git", "ssh://git@example.com/churn.git"),
        ("git@example.com:team/churn.git", "git@example.com:team/churn.git"),
        (f"git:{_TOKEN}@example.com:team/churn.git", "example.com:team/churn.git"),
        ("../churn.git", "../churn.git"),
    ],
)
def test_no_credentials_are_kept(repository: Path, url: str, shown: str | None) -> None:
    # given
    _git(repository, "remote", "add", "origin", url)
    # when
    properties = _annotate(repository).properties
    # then
    assert properties.get("azureml.git.repository_uri") == shown
    assert properties.get("mlflow.source.git.repoURL") == shown
    assert _TOKEN not in str(properties)


def test_a_large_diff_is_cut_and_says_so(repository: Path) -> None:
    # given
    (repository / "train.py").write_text("x = 1\n" * 1_000_000)
    # when
    annotation = _annotate(repository)
    # then
    assert len(annotation.diff) == 5_000_000
    assert annotation.properties["mltrain.git_diff_truncated"] == "True"


def test_a_diff_program_of_the_repository_is_not_run(repository: Path) -> None:
    # given
    _git(repository, "config", "diff.external", f"touch {repository / 'ran'} #")
    (repository / "train.py").write_text("print('changed')\n")
    # when
    annotation = _annotate(repository)
    # then
    assert b"+print('changed')" in annotation.diff
    assert not (repository / "ran").exists()


def test_a_hook_of_another_repository_does_not_mislead(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    _git(tmp_path, "init", "--quiet", "--initial-branch=other", "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "other" / ".git" / "index"))
    # when
    properties = _annotate(repository).properties
    # then
    assert properties["azureml.git.branch"] == "main"


def test_a_build_server_can_say_what_git_does_not_know(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    _git(repository, "checkout", "--quiet", "--detach")
    monkeypatch.setenv("AZUREML_GIT_BRANCH", "release")
    monkeypatch.setenv("AZUREML_GIT_BUILD_ID", "17")
    # when
    properties = _annotate(repository).properties
    # then
    assert properties["azureml.git.branch"] == "release"
    assert properties["mlflow.source.git.branch"] == "release"
    assert properties["azureml.git.build_id"] == "17"


def test_a_directory_outside_any_repository_has_no_annotation(source: Path) -> None:
    # when
    pending = start_git_annotation(source)
    # then
    assert pending is None


def test_a_machine_without_git_has_no_annotation(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    monkeypatch.setenv("PATH", str(tmp_path))
    # when
    pending = start_git_annotation(repository)
    # then
    assert pending is None


def test_a_damaged_repository_is_no_obstacle(repository: Path) -> None:
    # given
    shutil.rmtree(repository / ".git" / "objects")
    # when
    annotation = _annotate(repository)
    # then
    assert annotation == GitAnnotation({}, b"")


def test_a_git_that_hangs_is_given_up_and_stopped(repository: Path, slow_git: Path) -> None:
    # given
    pending = start_git_annotation(repository)
    assert pending is not None
    started = time.monotonic()
    # when
    annotation = pending.collect(timeout_seconds=0.5)
    # then
    assert annotation == GitAnnotation({}, b"")
    assert time.monotonic() - started < 60  # or else it waited for git
    assert [pid for pid in _pids(slow_git) if _is_alive(pid)] == []


def test_an_annotation_that_nobody_collects_stops_git(repository: Path, slow_git: Path) -> None:
    # given
    pending = start_git_annotation(repository)
    _wait_for_pids(slow_git)
    # when
    del pending
    # then
    assert [pid for pid in _pids(slow_git) if _is_alive(pid)] == []


def test_an_annotation_is_collected_once(repository: Path) -> None:
    # given
    pending = start_git_annotation(repository)
    assert pending is not None
    pending.collect()
    # when
    again = pending.collect()
    # then
    assert again == GitAnnotation({}, b"")


@pytest.fixture
def slow_git(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `git` that takes a minute, and the file where it notes its process ids."""
    assert repository.exists()  # it was made with the real one
    program = tmp_path / "programs" / "git"
    program.parent.mkdir()
    pids = tmp_path / "pids"
    program.write_text(_STAND_IN.format(pids=pids))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    return pids


def _annotate(source: Path) -> GitAnnotation:
    pending = start_git_annotation(source)
    assert pending is not None
    return pending.collect()


def _git(directory: Path, *words: str, stdin: bytes = b"") -> str:
    ended = subprocess.run(
        ["git", *words], cwd=directory, input=stdin, stdout=subprocess.PIPE, check=True
    )
    return ended.stdout.decode()


def _wait_for_pids(file: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(_pids(file)) < 5:
        assert time.monotonic() < deadline, "git was not started"
        time.sleep(0.01)


def _pids(file: Path) -> list[int]:
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
