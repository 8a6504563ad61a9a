"""The source directory that a function is run from on a target."""

from __future__ import annotations

import ast
import builtins
import dis
import fcntl
import hashlib
import inspect
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Final
from uuid import uuid4

from airflow_mltrain import runtime
from airflow_mltrain.errors import ConfigurationError

SCRIPT: Final = "call_function.py"
_ENTRY: Final = Path(runtime.__file__).parent / "function" / SCRIPT
_OWN_MODULE: Final = "task_function"
_LOCK: Final = ".lock"
_KEPT_SECONDS: Final = 24 * 3600


@dataclass(frozen=True)
class FunctionProject:
    """What is laid out: text by its path; and which function of which module is called."""

    module: str
    name: str
    files: dict[str, bytes]

    def lay_out(self, folder: Path) -> Path:
        """Write it below `folder`, under a name that its content has; nothing if it is there.

        It stays for a day at least, which is for a submission; what was not laid out for longer,
        of whichever function, goes.
        """
        folder.mkdir(parents=True, exist_ok=True)
        destination = folder / self._digest()
        with (folder / _LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not destination.is_dir():
                self._write(destination)
            os.utime(destination)
            _remove_old(folder)
        return destination

    def _write(self, destination: Path) -> None:
        draft = destination.with_name(f".{uuid4().hex}")
        try:
            for path, content in self.files.items():
                file = draft / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            draft.rename(destination)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for path, content in sorted(self.files.items()):
            digest.update(f"{path}\0{len(content)}\0".encode())
            digest.update(content)
        return digest.hexdigest()[:32]


def _remove_old(folder: Path) -> None:
    """Remove projects that nobody submits any more, and what killed processes left of one."""
    oldest = time.time() - _KEPT_SECONDS
    for entry in folder.iterdir():
        if entry.name != _LOCK and entry.stat().st_mtime < oldest:
            gone = entry.with_name(f".{uuid4().hex}")  # half a project is none
            entry.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)


def make_project(function: Callable[..., Any], dag_file: str) -> FunctionProject:
    """The project of a function: its module where that can travel, otherwise its own lines.

    Raises ConfigurationError where it is no function, or its lines need what is not in them.
    """
    if not isinstance(function, FunctionType):
        raise ConfigurationError(
            f"@task.train: {function!r} is no plain function; define one by `def`, and call it"
        )
    entry = {SCRIPT: _ENTRY.read_bytes()}
    name, module = function.__name__, sys.modules.get(function.__module__)
    file = getattr(module, "__file__", None)
    is_in_dag = file is None or os.path.realpath(file) == os.path.realpath(dag_file)
    if is_in_dag or module is None or getattr(module, name, None) is not function:
        lines = {f"{_OWN_MODULE}.py": _own_lines(function)}
        return FunctionProject(_OWN_MODULE, name, {**entry, **lines})
    files = dict(_files_of(module.__name__, Path(str(file))))
    return FunctionProject(module.__name__, name, {**files, **entry})


def _own_lines(function: FunctionType) -> bytes:
    name = function.__name__
    code = function.__code__
    found = {*_find_globals(code)} & function.__globals__.keys()
    _refuse_missing(name, {*found, *code.co_freevars} - {name})
    try:
        source = inspect.getsource(function)
        # Lines that are indented stay so: text within them may be none of Python's.
        above = "if True:\n" if source[:1].isspace() else ""
        [outer] = ast.parse(above + source).body
    except (OSError, SyntaxError, ValueError) as error:
        raise ConfigurationError(
            f"@task.train: the source of {name}() cannot be read; define it in a file, by `def`"
        ) from error
    node = outer.body[0] if isinstance(outer, ast.If) else outer
    if not isinstance(node, ast.FunctionDef) or len(node.decorator_list) > 1:
        raise ConfigurationError(
            f"@task.train: {name}() has to be a plain function, with no other decorator"
        )
    for default in (*node.args.defaults, *filter(None, node.args.kw_defaults)):
        made_of = compile(ast.Expression(default), name, "eval")
        _refuse_missing(name, {*_find_globals(made_of)} - vars(builtins).keys())
    lines = (above + source).split("\n")[node.lineno - 1 : node.end_lineno]
    return "\n".join(["from __future__ import annotations", above, *lines, ""]).encode()


def _refuse_missing(name: str, missing: set[str]) -> None:
    if missing:
        raise ConfigurationError(
            f"@task.train: {name}() uses {', '.join(sorted(missing))} from its Dag's file, which "
            "does not travel: import or define that inside the function, or move the function "
            "into a module without Airflow, which travels whole"
        )


def _find_globals(code: CodeType) -> Iterator[str]:
    """The names that a function, or one within it, takes from its module or from Python."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _find_globals(constant)


def _files_of(module: str, file: Path) -> Iterator[tuple[str, bytes]]:
    """The module's file, or all of the package that it is in, below the folder of imports."""
    root = file
    for _ in module.split(".")[1:] if file.stem != "__init__" else module.split("."):
        root = root.parent
    base = root.parent
    for path in [root] if root.is_file() else sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(base).as_posix(), path.read_bytes()
