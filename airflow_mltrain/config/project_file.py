"""Where a project has its run configurations."""

from __future__ import annotations

from pathlib import Path

from airflow_mltrain.errors import ConfigurationError


def project_of(path: Path) -> Path:
    """The project that a file belongs to: where its folder `.azureml` is, or its own folder."""
    folder = path.absolute().parent
    return folder.parent if folder.name in (".azureml", "aml_config") else folder


def find_file(path: Path, name: str | None) -> Path:
    """The file that `path` is, or that has this name in the project `path`."""
    if path.is_file():
        return path
    if name is None:
        raise ConfigurationError(f"{path} is no file; give its path, or a project and a name")
    folders = (path / ".azureml", path / "aml_config", path)
    found = [folder / file for folder in folders for file in (name, f"{name}.runconfig")]
    for file in found:
        if file.is_file():
            return file
    raise ConfigurationError(
        f"there is no run configuration {name!r} in {path}; looked for "
        f"{', '.join(str(file.relative_to(path)) for file in found)}"
    )
