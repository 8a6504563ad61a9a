"""What of a build context stays out: Docker's documented rules, with BuildKit's meaning."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mltrain.errors import SnapshotError
from airflow_mltrain.snapshots.blob_store import BlobStore
from airflow_mltrain.snapshots.dockerignore import DockerIgnoreRules, read_docker_rules
from airflow_mltrain.snapshots.snapshot import take_snapshot
from airflow_mltrain.snapshots.source_tree import walk

_FILES = [
    *("README.md", "README-secret.md", "tempa", "temp1/b", "temp/x/y.tmp", "src/train.py"),
    *("src/data/big.bin", "src/data/keep.txt", "docs/a/b.md", "a.b", "a b", "é", "[x]", "#notes"),
]

# One line of an ignore file, and which of the files above it leaves out.
_ONE_LINE = [
    ("README.md", {"README.md"}),
    ("/README.md", {"README.md"}),
    ("./docs/../README.md", {"README.md"}),
    ("  README.md\t\r", {"README.md"}),
    ("train.py", set()),
    ("src", {"src/train.py", "src/data/big.bin", "src/data/keep.txt"}),
    ("src/", {"src/train.py", "src/data/big.bin", "src/data/keep.txt"}),
    ("src/data/*", {"src/data/big.bin", "src/data/keep.txt"}),
    ("*/*/*.bin", {"src/data/big.bin"}),
    ("*/*.bin", set()),
    ("*.md", {"README.md", "README-secret.md"}),
    ("**/*.md", {"README.md", "README-secret.md", "docs/a/b.md"}),
    ("**/data", {"src/data/big.bin", "src/data/keep.txt"}),
    ("src/**/big.bin", {"src/data/big.bin"}),
    ("src/**", {"src/train.py", "src/data/big.bin", "src/data/keep.txt"}),
    ("**.bin", {"src/data/big.bin"}),
    ("temp?", {"tempa", "temp1/b"}),
    ("temp[0-9]", {"temp1/b"}),
    ("temp[^0-9]", {"tempa"}),
    ("a?b", {"a.b", "a b"}),
    ("a.b", {"a.b"}),
    ("?", {"é"}),
    ("\\[x]", {"[x]"}),
    ("[\\[]x[\\]]", {"[x]"}),
    ("#notes", set()),
    (" #notes", {"#notes"}),
    (".", set()),
    ("/", set()),
    ("..", set()),
    ("", set()),
    ("**", set(_FILES)),
    ("*", set(_FILES)),
]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A directory that an image is built from."""
    root = tmp_path / "context"
    for name in _FILES:
        _write(root / name)
    _write(root / "Dockerfile", "FROM scratch\n")
    return root


@pytest.mark.parametrize(("line", "left_out"), _ONE_LINE)
def test_a_line_leaves_out_what_docker_says(context: Path, line: str, left_out: set[str]) -> None:
    # given
    _write(context / ".dockerignore", line)
    # when
    kept = _kept_files(context)
    # then
    assert set(_FILES) - kept == left_out


@pytest.mark.parametrize(
    ("lines", "kept_of_them"),
    [
        (["**/*.md", "!README.md"], {"README.md"}),
        (["**/*.md", "!README*.md", "README-secret.md"], {"README.md"}),
        (["**/*.md", "README-secret.md", "!README*.md"], {"README.md", "README-secret.md"}),
        (["!README.md", "**/*.md"], set()),
        (["docs/a/b.md", "README*", "!docs"], set()),
        (["*", "!docs"], {"docs/a/b.md"}),
        (["*", "!docs/a/*"], {"docs/a/b.md"}),
        (["*", "!**/*.md"], {"README.md", "README-secret.md", "docs/a/b.md"}),
        (["**", "!docs", "docs/a"], set()),
        (["docs", "README*", "! /docs/a/b.md "], {"docs/a/b.md"}),
    ],
)
def test_the_last_line_that_matches_decides(
    context: Path, lines: list[str], kept_of_them: set[str]
) -> None:
    # given
    _write(context / ".dockerignore", "\n".join(lines))
    # when
    kept = _kept_files(context)
    # then
    assert {name for name in kept if name.endswith(".md")} == kept_of_them


_segment = st.sampled_from(["a", "b", "c", "*", "?", "a*", "*b", "**", "ab"])
_glob = st.lists(_segment, min_size=1, max_size=3).map("/".join)
_paths = st.sets(
    st.lists(st.sampled_from(["a", "b", "c", "ab"]), min_size=1, max_size=4).map("/".join),
    min_size=1,
    max_size=8,
)


@settings(max_examples=200, deadline=None)
@given(lines=st.lists(_glob | _glob.map("!{}".format), max_size=5), paths=_paths)
def test_for_every_list_a_walk_finds_what_each_path_by_itself_says(
    lines: list[str], paths: set[str]
) -> None:
    # given
    rules = DockerIgnoreRules.parse("\n".join(lines).encode())
    with tempfile.TemporaryDirectory() as folder:
        files = _write_all(Path(folder), paths)
        # when
        found = walk(os.fsencode(folder), rules)
    # then
    kept = {entry.path for entry in found if entry.kind == "file"}
    assert kept == {path for path in files if not _is_ignored(lines, path)}


def test_a_directory_stays_in_with_what_an_exception_keeps_in_it_and_only_then(
    context: Path,
) -> None:
    # given
    _write(context / ".dockerignore", "*\n!src/data/keep.txt\n!nowhere\n")
    # when
    found = walk(os.fsencode(context), read_docker_rules(context, "Dockerfile"))
    # then
    assert {entry.path for entry in found} == {
        *("Dockerfile", ".dockerignore", "src", "src/data", "src/data/keep.txt")
    }


def test_an_ignored_directory_is_entered_only_where_an_exception_may_match(context: Path) -> None:
    # given
    os.mkfifo(context / "docs" / "pipe")
    _write(context / ".dockerignore", "docs\nsrc\n!src/*.py\n")
    # when
    kept = _kept_files(context)
    # then
    assert "src/train.py" in kept
    assert "docs/a/b.md" not in kept


def test_an_ignored_directory_that_may_not_be_read_is_passed_over(bound_folder: Path) -> None:
    # given
    context = bound_folder / "context"
    _write(context / "src" / "train.py")
    _write(context / ".dockerignore", "*\n!**/*.py\n")
    (context / "database").mkdir(mode=0o000)
    # when
    kept = _kept_files(context)
    # then
    assert "src/train.py" in kept


def test_nothing_is_left_out_without_a_rule(context: Path) -> None:
    # given
    names = {".git/HEAD", ".venv/bin/python", "__pycache__/a.pyc", "outputs/a", "logs/a"}
    for name in names:
        _write(context / name)
    _write(context / ".gitignore", "*\n")
    _write(context / ".amlignore", "*\n")
    # when
    kept = _kept_files(context)
    # then
    assert names | {".gitignore", ".amlignore", "src/train.py"} <= kept


@pytest.mark.parametrize("dockerfile", ["Dockerfile", "docker/gpu.Dockerfile"])
def test_what_the_builder_itself_reads_stays_in_though_it_is_ignored(
    context: Path, dockerfile: str
) -> None:
    # given
    _write(context / dockerfile, "FROM scratch\n")
    _write(context / ".dockerignore", "**\n")
    # when
    kept = _kept_files(context, dockerfile)
    # then
    assert kept == {dockerfile, ".dockerignore"}


def test_the_file_that_the_dockerfile_is_a_link_to_stays_in(context: Path) -> None:
    # given
    (context / "Dockerfile").rename(context / "docs" / "Dockerfile")
    (context / "Dockerfile").symlink_to("docs/Dockerfile")
    _write(context / ".dockerignore", "**\n")
    # when
    kept = _kept_files(context)
    # then
    assert kept == {"Dockerfile", "docs/Dockerfile", ".dockerignore"}


def test_the_rules_of_a_dockerfile_count_instead_of_those_of_the_root(context: Path) -> None:
    # given
    _write(context / "docker/gpu.Dockerfile", "FROM scratch\n")
    _write(context / "docker/gpu.Dockerfile.dockerignore", "src\n")
    _write(context / ".dockerignore", "docs\n")
    # when
    kept = _kept_files(context, "docker/gpu.Dockerfile")
    # then
    assert "docs/a/b.md" in kept
    assert "src/train.py" not in kept


def test_a_byte_order_mark_and_comments_are_no_patterns(context: Path) -> None:
    # given
    _write(context / ".dockerignore", "\ufeff# docs\nsrc\n#é\n")
    # when
    kept = _kept_files(context)
    # then
    assert {"docs/a/b.md", "é"} <= kept
    assert "src/train.py" not in kept


@pytest.mark.parametrize(
    "line", ["[", "a[", "[]a]", "[-]", "[x-]", "[a-b-c]", "[b-a]", "[^", "a\\", "!", "! /", "/!"]
)
def test_what_is_no_pattern_is_named_with_its_line(context: Path, line: str) -> None:
    # given
    _write(context / ".dockerignore", f"# rules\n{line}\n")
    # when
    with pytest.raises(SnapshotError) as caught:
        read_docker_rules(context, "Dockerfile")
    # then
    assert re.match(r"\.dockerignore:2: '.*' is no pattern that Docker takes: ", str(caught.value))


def test_rules_that_cannot_be_read_are_named(context: Path) -> None:
    # given
    (context / ".dockerignore").mkdir()
    # when
    with pytest.raises(SnapshotError) as caught:
        read_docker_rules(context, "Dockerfile")
    # then
    assert f"{context / '.dockerignore'} cannot be read: Is a directory" in str(caught.value)


@pytest.mark.parametrize("target", ["/etc/hostname", "../elsewhere", "src/train.py", "nowhere"])
def test_a_link_stays_a_link_wherever_it_leads(
    context: Path, store: BlobStore, tmp_path: Path, target: str
) -> None:
    # given
    (context / "link").symlink_to(target)
    # when
    snapshot = take_snapshot(
        context,
        store,
        index_directory=tmp_path / "indexes",
        max_bytes=10**6,
        rules=read_docker_rules(context, "Dockerfile"),
    )
    # then
    links = [(entry.path, entry.target) for entry in snapshot.manifest.entries if entry.target]
    assert links == [("link", target)]


@pytest.mark.parametrize("name", ["Dockerfile.dockerignore", ".dockerignore"])
def test_what_cannot_be_stored_is_refused_with_the_file_that_leaves_it_out(
    context: Path, store: BlobStore, tmp_path: Path, name: str
) -> None:
    # given
    _write(context / name, "docs\n")
    # when
    with pytest.raises(SnapshotError) as caught:
        take_snapshot(
            context,
            store,
            index_directory=tmp_path / "indexes",
            max_bytes=20,
            rules=read_docker_rules(context, "Dockerfile"),
        )
    # then
    assert f"Name what is not needed in {name}, or raise" in str(caught.value)


def _is_ignored(lines: Sequence[str], path: str) -> bool:
    """Whether the last line that matches it leaves it out.

    A line goes on matching in a directory that it matches, if it mattered there.
    """
    parts = path.split("/")
    matching: set[int] = set()
    is_ignored = False
    for length in range(1, len(parts) + 1):
        is_ignored = False
        for number, line in enumerate(lines):
            glob = line.removeprefix("!")
            matters = line.startswith("!") == is_ignored
            if matters and _matches(glob.split("/"), parts[:length]):
                matching.add(number)
            if number in matching:
                is_ignored = glob == line
    return is_ignored


def _matches(glob: Sequence[str], parts: Sequence[str]) -> bool:
    if not glob:
        return not parts
    if glob[0] == "**":
        least = 1 if len(glob) == 1 else 0
        return any(_matches(glob[1:], parts[n:]) for n in range(least, len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], glob[0]) and _matches(glob[1:], parts[1:])


def _kept_files(context: Path, dockerfile: str = "Dockerfile") -> set[str]:
    found = walk(os.fsencode(context), read_docker_rules(context, dockerfile))
    return {entry.path for entry in found if entry.kind != "directory"}


def _write_all(root: Path, paths: set[str]) -> set[str]:
    """Make those of the files that are not in each other's way; returns them."""
    files = {path for path in paths if not any(one.startswith(f"{path}/") for one in paths)}
    for path in files:
        _write(root / path)
    return files


def _write(path: Path, content: str = "content") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
