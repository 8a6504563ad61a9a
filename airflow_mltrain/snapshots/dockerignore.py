"""Docker's ignore rules: what of a directory that an image is built from is not sent."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airflow_mltrain.errors import SnapshotError
from airflow_mltrain.snapshots.docker_glob import DockerGlob

_FILE_NAME: Final = ".dockerignore"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class DockerIgnoreRules:
    """What stays out of one directory of a build context, with BuildKit's meaning.

    A pattern is from the root, and what it says of a directory it says of all in it. So an ignored
    directory is looked into where an exception, a pattern behind `!`, may match.
    """

    ignore_file: str
    _patterns: tuple[_Pattern, ...]
    _kept: frozenset[bytes]
    _matched_above: tuple[bool, ...]

    keeps_leaving_links: Final = True

    @classmethod
    def parse(
        cls, content: bytes, *, kept: Iterable[str] = (), ignore_file: str = _FILE_NAME
    ) -> DockerIgnoreRules:
        """The rules of the root; the files in `kept` stay in whatever `content` says.

        Raises SnapshotError for a line that is no pattern.
        """
        patterns = tuple(_parse(content, ignore_file))
        paths = frozenset(path.encode("utf-8", "surrogateescape") for path in kept)
        return cls(ignore_file, patterns, paths, (False,) * len(patterns))

    def ignores(self, path: bytes, _name: bytes, *, is_directory: bool) -> bool:
        """Whether this entry of the directory stays out; its path is from the root."""
        if path in self._kept and not is_directory:
            return False
        return self._judge(path)[0]

    def opens(self, path: bytes) -> bool:
        """Whether something in this ignored directory may stay in."""
        text = _to_text(path)
        return any(kept.startswith(path + b"/") for kept in self._kept) or any(
            pattern.is_exception and pattern.glob.may_match_in(text) for pattern in self._patterns
        )

    def below(self, path: bytes, _read: object) -> DockerIgnoreRules:
        """The rules of a directory in this one."""
        return DockerIgnoreRules(
            self.ignore_file, self._patterns, self._kept, self._judge(path)[1]
        )

    def _judge(self, path: bytes) -> tuple[bool, tuple[bool, ...]]:
        """Whether it stays out, and which patterns match it or a directory it lies in.

        As in BuildKit, one that could change nothing is not tried and is not matched further down.
        """
        text = _to_text(path)
        is_ignored = False
        matched = []
        for pattern, is_matched_above in zip(self._patterns, self._matched_above, strict=True):
            could_change = pattern.is_exception == is_ignored
            is_match = is_matched_above or (could_change and pattern.glob.matches(text))
            matched.append(is_match)
            if is_match:
                is_ignored = not pattern.is_exception
        return is_ignored, tuple(matched)


def read_docker_rules(directory: Path, dockerfile_path: str) -> DockerIgnoreRules:
    """The rules of a build context: those beside its Dockerfile, or else those of its root.

    The Dockerfile and both files of rules stay in, for whoever builds reads them. Raises
    SnapshotError, which names the file, where one cannot be used.
    """
    inside = posixpath.normpath(dockerfile_path)
    own = f"{inside}{_FILE_NAME}"
    chosen = next((name for name in (own, _FILE_NAME) if (directory / name).exists()), None)
    content = b"" if chosen is None else _read(directory / chosen)
    linked = os.path.relpath((directory / inside).resolve(), directory.resolve())
    kept = {inside, linked, own, _FILE_NAME}
    return DockerIgnoreRules.parse(content, kept=kept, ignore_file=chosen or _FILE_NAME)


@dataclass(frozen=True)
class _Pattern:
    glob: DockerGlob
    is_exception: bool


def _parse(content: bytes, ignore_file: str) -> Iterator[_Pattern]:
    lines = _to_text(content.removeprefix(_BYTE_ORDER_MARK)).split("\n")
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or line.startswith("#"):
            continue
        try:
            yield _read_pattern(text)
        except ValueError as error:
            raise SnapshotError(
                f"{ignore_file}:{number}: {text!r} is no pattern that Docker takes: {error}"
            ) from None


def _read_pattern(text: str) -> _Pattern:
    mark = "!" if text.startswith("!") else ""
    bare = text.removeprefix(mark).strip()
    cleaned = mark + (posixpath.normpath(bare).lstrip("/") or "/" if bare else "")
    if cleaned in ("!", "!/"):
        raise ValueError("a path or a pattern should follow the '!'")
    is_exception = cleaned.startswith("!")  # Docker takes `/!a` for one, too
    return _Pattern(DockerGlob(cleaned[is_exception:]), is_exception)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SnapshotError(
            f"{path} cannot be read: {error.strerror}; let this user read it, or remove it"
        ) from error


def _to_text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
