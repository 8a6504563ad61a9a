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
    """Copy the files that a run left, or its source directory; 1 where there are none such."""
    workspace = open_workspace()
    record = look_at(workspace, arguments.run_id)
    folder = Path(arguments.output or record.run_id)
    if arguments.source:
        Run.get(workspace, record.run_id).restore_snapshot(path=folder)
        print(printable(str(folder)))
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
    if not names:
        print(f"mltrain: run {record.run_id} left no such file", file=sys.stderr)
    return 0 if names else _FAILED


def _copy(workspace: Workspace, run_id: str, name: str, destination: Path) -> None:
    try:
        kept_files.copy(workspace, run_id, name, destination)
    except OSError as error:
        raise ArtifactError(
            f"{name} of run {run_id} could not be copied to {destination}: {error.strerror}"
        ) from error


def _is_wanted(name: str, wanted: list[str]) -> bool:
    """Whether a file was named, or a folder that it is in."""
    return not wanted or any(
        name == one or name.startswith(f"{one.rstrip('/')}/") for one in wanted
    )
