"""The files that a run left, and its log, also while it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from airflow_mltrain import progress
from airflow_mltrain.errors import ArtifactError, ConfigurationError

if TYPE_CHECKING:
    from airflow_mltrain.workspace import Workspace

LOG = "log"


def list_files(workspace: Workspace, run_id: str) -> list[str]:
    """The kept files: `log`, `outputs/...` and `logs/...`; none before the run's end."""
    progress.refresh(workspace, run_id)
    kept = workspace.artifacts.find_run(run_id)
    return [] if kept is None else [file.name for file in kept.list_files()]


def download(workspace: Workspace, run_id: str, name: str, destination: Path) -> None:
    """Copy one kept file as `copy` does; raises ArtifactError where the run kept no such file."""
    if name not in list_files(workspace, run_id):
        raise ArtifactError(f"run {run_id} kept no file {name!r}; get_file_names() lists them")
    copy(workspace, run_id, name, destination)


def copy(workspace: Workspace, run_id: str, name: str, destination: Path) -> None:
    """Copy a file that `list_files` names, into `destination` where that is a folder."""
    destination = _place(name, destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    kept = workspace.artifacts.find_run(run_id)
    if kept is None:
        raise ArtifactError(f"the artifacts of run {run_id} are not kept any more")
    kept.copy(name, destination)


def choose_names(
    workspace: Workspace,
    run_id: str,
    prefix: str,
    output_paths: Sequence[str | Path] | None,
    directory: Path,
    *,
    append_prefix: bool,
) -> dict[str, Path]:
    """Where each kept file whose name starts with `prefix` goes, below an output directory.

    Raises ConfigurationError where two would go to one place.
    """
    names = [name for name in list_files(workspace, run_id) if name.startswith(prefix)]
    if output_paths is not None:
        if len(output_paths) != len(names):
            raise ConfigurationError(
                f"output_paths has {len(output_paths)} paths for {len(names)} files: "
                f"{', '.join(names[:20])}; give one for each, or leave it out"
            )
        paths = [directory / path for path in output_paths]
    elif append_prefix:
        paths = [directory / name for name in names]
    else:
        rests = (name[len(prefix) :].lstrip("/") or Path(name).name for name in names)
        paths = [directory / rest for rest in rests]
    taken: dict[Path, str] = {}
    for name, path in zip(names, map(_place, names, paths), strict=True):
        if (other := taken.setdefault(path, name)) != name:
            raise ConfigurationError(
                f"{other} and {name} would both go to {path}; keep the prefix, with "
                "append_prefix=True, or give each a path of its own in output_paths"
            )
    return dict(zip(names, paths, strict=True))


def _place(name: str, destination: Path) -> Path:
    return destination / PurePosixPath(name).name if destination.is_dir() else destination


def read_logs(workspace: Workspace, run_id: str) -> dict[str, bytes]:
    """The run's log as far as it has come, and once it has ended its files in `logs/` too."""
    content = bytearray()
    for step in progress.follow(workspace, run_id, log_position=0, wait_seconds=0.0):
        content += step.log
        if not step.log:
            break
    kept = workspace.artifacts.find_run(run_id)
    names = [] if kept is None else [file.name for file in kept.list_files()]
    logs = {name: kept.read(name) for name in names if kept and name.startswith("logs/")}
    return {LOG: bytes(content), **logs}
