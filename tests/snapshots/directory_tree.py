"""Directories for tests: any of them, written and read back."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field

from hypothesis import strategies as st


@dataclass(frozen=True)
class File:
    content: bytes = b""
    mode: int = 0o644


@dataclass(frozen=True)
class Link:
    target: bytes


@dataclass(frozen=True)
class Directory:
    members: dict[bytes, File | Link | Directory] = field(default_factory=dict)
    mode: int = 0o755


_names = st.sampled_from(
    [
        b"a",
        b"b",
        b"a-",
        b"train.py",
        b"-rf",
        b"a b",
        b"\xff\xfe",
        "é".encode(),
        b"line\nend",
        b"'\"",
    ]
)
_files = st.builds(File, st.binary(max_size=20), st.sampled_from([0o644, 0o755, 0o600, 0o444]))
_links = st.builds(Link, st.sampled_from([b"a", b"b", b"./a", b"a/b", b"nowhere", b"\xff\xfe"]))
_directory_modes = st.sampled_from([0o755, 0o700, 0o775])
_members = st.recursive(
    _files | _links,
    lambda inside: st.builds(
        Directory, st.dictionaries(_names, inside, max_size=4), _directory_modes
    ),
    max_leaves=12,
)
directories = st.builds(Directory, st.dictionaries(_names, _members, max_size=5))
"""Every small directory without ignore files, whose links stay inside."""


def write(directory: Directory, place: bytes, *, backwards: bool = False) -> None:
    """Make it at a place where nothing is, in this order of names or the opposite one."""
    os.makedirs(place)  # noqa: PTH103 - paths are bytes
    members = sorted(directory.members.items(), reverse=backwards)
    for name, member in members:
        path = place + b"/" + name
        if isinstance(member, Directory):
            write(member, path, backwards=backwards)
        elif isinstance(member, Link):
            os.symlink(member.target, path)  # noqa: PTH211 - paths are bytes
        else:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            os.write(descriptor, member.content)
            os.fchmod(descriptor, member.mode)
            os.close(descriptor)
    os.chmod(place, directory.mode)  # noqa: PTH101 - paths are bytes


def read(place: bytes) -> Directory:
    """What lies there."""
    members: dict[bytes, File | Link | Directory] = {}
    for entry in os.scandir(place):
        mode = stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)
        if entry.is_symlink():
            members[entry.name] = Link(os.readlink(entry.path))  # noqa: PTH115 - paths are bytes
        elif entry.is_dir():
            members[entry.name] = read(entry.path)
        else:
            with open(entry.path, "rb") as file:  # noqa: PTH123 - paths are bytes
                members[entry.name] = File(file.read(), mode)
    return Directory(members, stat.S_IMODE(os.stat(place).st_mode))  # noqa: PTH116 - paths are bytes
