"""`mltrain download`: what a run left behind, and what it was made of."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Final

from airflow_mltrain import kept_files
from airflow_mltrain.cli.quick_workspace import look_at, open_workspace
from airflow_mltrain.cli.terminal_text import printable
from airflow_mltrain.errors import ArtifactError
from airflow_mltrain.run import Run
from airflow_mltrain.workspace import Workspace

_FAILED: Final = 1


def download(arguments: Namespace) -> int:
    """Copy the files that a run left, or its source directory; 1 where something named is none."""
    workspace = open_workspace()
    record = look_at(workspace, arguments.run_id)
    folder = Path(arguments.output or record.run_id)
    if arguments.source:
        Run.get(workspace, record.run_id).restore_snapshot(path=folder)
        print(json.dumps({"folder": str(folder)}) if arguments.json else printable(str(folder)))
        return 0
    if not record.status.is_terminal:
        raise ArtifactError(
            f"run {record.run_id} is {record.status}; what it leaves is kept at its end"
        )
    kept = kept_files.list_files(workspace, record.run_id)
    names = [name for name in kept if _is_wanted(name, arguments.names)]
    for name in names:
        _copy(workspace, record.run_id, name, folder / name)
        if not arguments.json:
            print(printable(str(folder / name)), flush=True)
    if arguments.json:
        print(json.dumps({"files": [str(folder / name) for name in names]}, indent=2))
    missed = [one for one in arguments.names if not any(_is_below(one, name) for name in kept)]
    for one in missed:
        print(f"mltrain: run {record.run_id} left no {one!r}", file=sys.stderr)
    if not kept and not missed:
        print(f"mltrain: run {record.run_id} left no file", file=sys.stderr)
    return 0 if names and not missed else _FAILED


def _copy(workspace: Workspace, run_id: str, name: str, destination: Path) -> None:
    if destination.is_dir():
        raise ArtifactError(
            f"{name} of run {run_id} could not be copied to {destination}: that is a folder; name "
            "another one with --output"
        )
    try:
        kept_files.copy(workspace, run_id, name, destination)
    except OSError as error:
        raise ArtifactError(
            f"{name} of run {run_id} could not be copied to {destination}: "
            f"{error.strerror or error}"
        ) from error


def _is_wanted(name: str, wanted: list[str]) -> bool:
    return not wanted or any(_is_below(one, name) for one in wanted)


def _is_below(wanted: str, name: str) -> bool:
    """Whether a file was named, or a folder that it is in."""
    return name == wanted or name.startswith(f"{wanted.rstrip('/')}/")
