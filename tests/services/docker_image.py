"""Base images for tests, made of programs of this machine: without a registry or a network."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tests.services.requirement import require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import DockerClient

USER, USER_ID = "trainer", 1000
_THE_SAME_MOMENT = 1704067200  # equal content makes equal layers
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_VARIABLES = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "SSL_CERT_FILE": _CERTIFICATES,
    "PIP_CERT": _CERTIFICATES,
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}
# Of the standard library: what takes much room, and what is not Python's own.
_LEFT_OUT = re.compile(
    r"tests?|idlelib|tkinter|turtledemo|lib2to3|__pycache__|(site|dist)-packages|config-.*|_test.*"
    r"|_tkinter.*|EXTERNALLY-MANAGED"
)
# What programs of packages need, and what the C library opens without being linked to it.
_COMPANIONS = (
    *("libstdc++.so.6", "libgcc_s.so.1", "libpthread.so.0", "libdl.so.2", "librt.so.1"),
    *("libutil.so.1", "libresolv.so.2", "libnss_files.so.2", "libnss_dns.so.2"),
)
_FILES = {
    "etc/passwd": f"""\
root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
{USER}:x:{USER_ID}:{USER_ID}::/home/{USER}:/bin/sh
""",
    "etc/group": f"root:x:0:\nnogroup:x:65534:\n{USER}:x:{USER_ID}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
_DESCRIBE = """
import json, site, sys, sysconfig
print(json.dumps([sys.base_prefix, sysconfig.get_path("stdlib"), site.getsitepackages()[-1]]))
"""


def python_image(
    client: DockerClient, tag: str, *, user: str | None = None, python: Path | None = None
) -> str:
    """Make an image with Python, pip and a shell; its id.

    It has the users root, nobody and trainer, and is `user`'s. The Python is that which runs the
    tests, or another, named by its interpreter.
    """
    tree = _make_python_tree((python or Path(sys.executable)).resolve())
    return _import(client, tag, tree, user, "python3")


def bare_image(client: DockerClient, tag: str) -> str:
    """Make an image with a shell and its commands, and without Python; its id."""
    return _import(client, tag, _make_bare_tree(), None, "sh")


def _import(client: DockerClient, tag: str, tree: bytes, user: str | None, command: str) -> str:
    repository, _, version = tag.rpartition(":")
    changes = [f"ENV {name}={value}" for name, value in _VARIABLES.items()]
    changes += [f'CMD ["{command}"]', *([] if user is None else [f"USER {user}"])]
    client.api.import_image_from_data(tree, repository, version, changes)
    return str(client.images.get(tag).id)


@cache
def _make_bare_tree() -> bytes:
    tree = _Tree()
    _add_system(tree)
    return tree.content()


@cache
def _make_python_tree(python: Path) -> bytes:
    tree = _Tree()
    _add_system(tree)
    _add_python(tree, _Python.find(python))
    return tree.content()


def _add_system(tree: _Tree) -> None:
    for name in ("dev", "etc", "home", "proc", "root", "run", "sys", "usr", "usr/bin", "usr/lib"):
        tree.add_folder(name)
    for name in ("tmp", "var/tmp"):
        tree.add_folder(name, mode=0o1777)
    tree.add_folder(f"home/{USER}", owner=USER_ID)
    for link, target in (("bin", "usr/bin"), ("sbin", "usr/bin"), ("usr/sbin", "bin")):
        tree.add_link(link, target)
    for name in ("lib", "lib64"):
        tree.add_link(name, f"usr/{name}")
    for name, text in _FILES.items():
        tree.add_text(name, text)
    if Path(_CERTIFICATES).exists():
        tree.add_file(_CERTIFICATES, Path(_CERTIFICATES))
    busybox = _find_busybox()
    tree.add_file("usr/bin/busybox", busybox)
    commands = subprocess.run([busybox, "--list"], check=True, capture_output=True).stdout.decode()
    for command in set(commands.split()) - {"busybox"}:
        tree.add_link(f"usr/bin/{command}", "busybox")
    _add_libraries(tree, [busybox])


def _find_busybox() -> Path:
    found = shutil.which("busybox")
    if found is None:
        require("docker", "there is no busybox to make images of")
    return Path(found)


@dataclass(frozen=True)
class _Python:
    """Where a Python is on this machine."""

    program: Path
    prefix: Path
    library: Path
    packages: Path

    @classmethod
    def find(cls, program: Path) -> _Python:
        said = subprocess.run(
            [program, "-I", "-c", _DESCRIBE], check=True, capture_output=True
        ).stdout
        return cls(program, *map(Path, json.loads(said)))

    @property
    def image_prefix(self) -> Path:
        """Where it is in an image: a Debian's goes nowhere else, and any other anywhere."""
        return self.prefix if self.prefix == Path("/usr") else Path("/usr/local")

    def place(self, path: Path) -> str:
        """Where a part of it is in an image."""
        return str(self.image_prefix / path.relative_to(self.prefix))

    def find_wheels(self) -> list[Path]:
        """The packages that a new virtual environment gets."""
        own = sorted(self.library.glob("ensurepip/_bundled/*.whl"))
        return own or sorted(self.prefix.glob("share/python-wheels/*.whl"))


def _add_python(tree: _Tree, python: _Python) -> None:
    folder = python.image_prefix / "bin"
    tree.add_file(str(folder / python.program.name), python.program)
    for name in {"python", "python3"} - {python.program.name}:
        tree.add_link(str(folder / name), python.program.name)
    modules = []
    for source in _walk(python.library):
        tree.add_file(python.place(source), source)
        if source.parent.name == "lib-dynload":
            modules.append(source)
    wheels = python.find_wheels()
    for wheel in wheels:
        tree.add_file(python.place(wheel), wheel)
    for wheel in [one for one in wheels if one.name.startswith("pip-")][-1:]:
        _add_pip(tree, wheel, python.place(python.packages), folder)
    _add_libraries(tree, [python.program, *modules])


def _add_pip(tree: _Tree, wheel: Path, packages: str, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            tree.add_bytes(f"{packages}/{name}", archive.read(name))
    for name in ("pip", "pip3"):
        tree.add_text(str(folder / name), '#!/bin/sh\nexec python3 -m pip "$@"\n', mode=0o755)


def _walk(top: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if not _LEFT_OUT.fullmatch(name))
        for name in sorted(names):
            path = Path(folder, name)
            if not _LEFT_OUT.fullmatch(name) and path.is_file():
                yield path


def _add_libraries(tree: _Tree, programs: list[Path]) -> None:
    """Add what the programs are linked to, all beside the C library, where it is looked for."""
    said = subprocess.run(["ldd", *programs], check=False, capture_output=True).stdout.decode()
    linked = {Path(found) for found in re.findall(r"=> (/\S+)", said)}
    folders = [library.parent for library in linked if library.name == "libc.so.6"]
    for loader in set(re.findall(r"^\s+(/\S+) \(", said, re.MULTILINE)):
        tree.add_file(_merged(Path(loader)), Path(loader))
    for folder in folders:
        linked |= {path for name in _COMPANIONS if (path := folder / name).exists()}
        for library in sorted(linked):
            tree.add_file(_merged(folder / library.name), library)


def _merged(path: Path) -> str:
    """The place below /usr of what is in /lib."""
    return str(path) if path.parts[1] == "usr" else f"usr{path}"


class _Tree:
    """Files of an image, all of them root's but for a home."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()
        self._archive = tarfile.open(fileobj=self._bytes, mode="w")  # noqa: SIM115 - see `content`
        self._names: set[str] = set()

    def content(self) -> bytes:
        """All of it, as a tar; nothing can be added afterwards."""
        self._archive.close()
        return self._bytes.getvalue()

    def add_folder(self, name: str, *, mode: int = 0o755, owner: int = 0) -> None:
        self._add(name, tarfile.DIRTYPE, mode=mode, owner=owner)

    def add_link(self, name: str, target: str) -> None:
        self._add(name, tarfile.SYMTYPE, mode=0o777, target=target)

    def add_text(self, name: str, text: str, *, mode: int = 0o644) -> None:
        self.add_bytes(name, text.encode(), mode=mode)

    def add_file(self, name: str, source: Path) -> None:
        executable = os.access(source, os.X_OK)
        self.add_bytes(name, source.read_bytes(), mode=0o755 if executable else 0o644)

    def add_bytes(self, name: str, content: bytes, *, mode: int = 0o644) -> None:
        self._add(name, tarfile.REGTYPE, mode=mode, content=content)

    def _add(
        self,
        name: str,
        kind: bytes,
        *,
        mode: int,
        owner: int = 0,
        target: str = "",
        content: bytes = b"",
    ) -> None:
        member = tarfile.TarInfo(name.lstrip("/"))
        if member.name in self._names:
            return
        self._names.add(member.name)
        member.type, member.mode, member.linkname = kind, mode, target
        member.uid = member.gid = owner
        member.size, member.mtime = len(content), _THE_SAME_MOMENT
        self._archive.addfile(member, io.BytesIO(content))
