"""Ignore rules, held against git itself."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mltrain.snapshots.source_tree import read_rules, walk

if TYPE_CHECKING:
    from pathlib import Path

_NAMES = ["a", "b", "ab", "a.b", "A", "a b", "-", "x]", "é"]
_TOKENS = [
    *("a", "b", "ab", ".", "A", " ", "é", "]", "-", "\t", "\r"),
    *("*", "*", "**", "?", "/", "/", "/", "\\", "!", "#"),
    *(
        "[ab]",
        "[!a]",
        "[^b]",
        "[a-c]",
        "[]a]",
        "[[:alpha:]]",
        "[[:nope:]]",
        "[a",
        "[\\]]",
        "[b-a]",
    ),
]
_pattern = st.lists(st.sampled_from(_TOKENS), min_size=1, max_size=6).map("".join)
_simple_pattern = st.sampled_from(
    [
        *("a", "a/", "/a", "b", "*", "/*", "!a", "!a/", "!/a", "!a/b", "!*", "*/", "!*/", "a/*"),
        *("a/b", "**/b", "a/**", "a/**/b", "!a/**", "!**/b", "*b", "a*", "**", "!**", "/a/*/b"),
        *("*a*.*b*", "**/a*/**", "*/*/*", "!*/*/*a*", "**/b*/**/a*"),
        *("a**/b", "*a**/b", "/**/b/", "ab/", "!ab", "?", "[ab]/", "\\!a", "b\\ ", "a  ", "#a"),
    ]
)
_ignore_file = st.lists(_pattern | _simple_pattern, max_size=6).map(
    lambda lines: "\n".join(lines).encode()
)
_place = st.sampled_from(["", "a", "a/b", "b", "ab"])


class _Repository:
    """A work tree of some depth, and what git says of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
            "HOME": str(root / "nobody"),
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        subprocess.run(["git", "init", "-q", str(root)], check=True, env=self.environment)
        for parent in ["", "a/", "b/", "ab/", "a/b/", "a/b/a/"]:
            for name in _NAMES:
                path = root / parent / name
                if f"{parent}{name}" in {"a", "b", "ab", "a/b", "a/b/a"}:
                    path.mkdir(parents=True, exist_ok=True)
                elif not path.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(b"")
        (root / "b" / "link").symlink_to("../a")

    def write_rules(self, files: dict[str, bytes]) -> None:
        for place in ("", "a", "a/b", "b", "ab"):
            path = self.root / place / ".gitignore"
            path.unlink(missing_ok=True)
            if place in files:
                path.write_bytes(files[place])

    def kept_by_git(self) -> set[str]:
        paths = [
            os.fsencode(path.relative_to(self.root))
            for path in self.root.rglob("*")
            if path.parts[len(self.root.parts)] != ".git"
        ]
        answer = subprocess.run(
            ["git", "check-ignore", "--no-index", "--stdin", "-z"],
            cwd=self.root,
            env=self.environment,
            input=b"\0".join(paths) + b"\0",
            capture_output=True,
            check=False,
        )
        assert answer.returncode in {0, 1}, answer.stderr
        return {os.fsdecode(path) for path in set(paths) - set(answer.stdout.split(b"\0"))}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> _Repository:
    return _Repository(tmp_path_factory.mktemp("repository"))


@settings(max_examples=150, deadline=None)
@given(files=st.dictionaries(_place, _ignore_file, max_size=3))
def test_for_every_set_of_rules_exactly_the_paths_that_git_ignores_stay_out(
    repository: _Repository, files: dict[str, bytes]
) -> None:
    # given
    repository.write_rules(files)
    # when
    kept = _kept(repository.root)
    # then
    assert kept == repository.kept_by_git()


@pytest.mark.parametrize(
    "path",
    [
        *(".git/HEAD", ".venv/bin/python", "__pycache__/train.pyc", "model/__pycache__/net.pyc"),
        *(".ipynb_checkpoints/a.ipynb", ".mypy_cache/a", ".pytest_cache/a", "model/.git"),
        *("outputs/model.pkl", "logs/train.log"),
    ],
)
def test_what_no_run_needs_stays_out_without_any_rules(source: Path, path: str) -> None:
    # given
    _write(source / path)
    # when
    kept = _kept(source)
    # then
    assert path not in kept


@pytest.mark.parametrize("path", ["model/outputs/a", "model/logs/a", ".gitignore", "env/a"])
def test_what_is_not_ours_to_leave_out_goes_in(source: Path, path: str) -> None:
    # given
    _write(source / path)
    # when
    kept = _kept(source)
    # then
    assert path in kept


def test_a_rule_can_take_in_what_is_out_by_default(source: Path) -> None:
    # given
    _write(source / "outputs/model.pkl")
    _write(source / ".gitignore", "!outputs/\n")
    # when
    kept = _kept(source)
    # then
    assert "outputs/model.pkl" in kept


def test_a_list_of_what_to_keep_does_not_bring_in_the_defaults(source: Path) -> None:
    # given
    _write(source / ".git/hooks/hook.py")
    _write(source / ".venv/lib/site.py")
    _write(source / ".gitignore", "*\n!*/\n!*.py\n")
    # when
    kept = _kept(source)
    # then
    assert kept == {"train.py", "model", "model/net.py"}


@pytest.mark.parametrize("content", ["model\n", ""])
def test_the_amlignore_file_replaces_the_gitignore_file(source: Path, content: str) -> None:
    # given
    _write(source / ".gitignore", "train.py\n")
    _write(source / ".amlignore", content)
    # when
    kept = _kept(source)
    # then
    assert "train.py" in kept
    assert ("model" in kept) is (content == "")


def test_an_amlignore_file_counts_at_the_root_alone(source: Path) -> None:
    # given
    _write(source / "model/.amlignore", "net.py\n")
    # when
    kept = _kept(source)
    # then
    assert "model/net.py" in kept


def test_nested_gitignore_files_count_beside_an_amlignore_file(source: Path) -> None:
    # given
    _write(source / ".amlignore", "train.py\n")
    _write(source / "model/.gitignore", "/net.py\n")
    # when
    kept = _kept(source)
    # then
    assert kept == {".amlignore", "model", "model/.gitignore"}


def test_an_ignored_directory_is_never_entered(source: Path) -> None:
    # given
    _write(source / ".gitignore", "data/\n")
    (source / "data").mkdir()
    os.mkfifo(source / "data" / "pipe")
    # when
    kept = _kept(source)
    # then
    assert kept == {".gitignore", "train.py", "model", "model/net.py"}


def _kept(source: Path) -> set[str]:
    return {entry.path for entry in walk(os.fsencode(source), read_rules(os.fsencode(source)))}


def _write(path: Path, content: str = "content") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
