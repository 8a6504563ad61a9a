"""The packages of an environment as Azure ML's CondaDependencies name them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped] # its stubs are a package of their own
from packaging.utils import canonicalize_name

from airflow_mltrain.absent import Explaining
from airflow_mltrain.config.conda_package import find_exact_version, find_name
from airflow_mltrain.config.conda_specification import read_conda_specification
from airflow_mltrain.config.local_path import read_path
from airflow_mltrain.config.python_section import IndexSection, PythonSection
from airflow_mltrain.config.requirements_file import Line, RequirementsReader
from airflow_mltrain.errors import ConfigurationError

_FILE_NAME: Final = "conda_dependencies.yml"
_PIP_NAME: Final = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_SDK: Final = ("azureml-defaults", "azureml-core", "azureml-sdk")


class CondaDependencies(Explaining):
    """A view of `environment.python`, or of a section of its own until it is assigned to one.

    There is no Python version and no package in it that nobody asked for. What is changed after it
    was assigned changes the environments that it was assigned to, too.
    """

    def __init__(
        self,
        conda_dependencies_file_path: str | PathLike[str] | None = None,
        _underlying_structure: PythonSection | None = None,
    ) -> None:
        self._sections = [_underlying_structure or PythonSection()]
        if conda_dependencies_file_path is not None:
            self._read(read_path(conda_dependencies_file_path))

    @staticmethod
    def create(
        pip_indexurl: str | None = None,
        pip_packages: Iterable[str] | None = None,
        conda_packages: Iterable[str] | None = None,
        python_version: str | None = None,
        pin_sdk_version: bool = True,  # noqa: ARG004, FBT001, FBT002 - there is no SDK in it
    ) -> CondaDependencies:
        """Packages by their names; without `python_version` it is the Python of the target."""
        made = CondaDependencies()
        if pip_indexurl is not None:
            made.set_pip_index_url(pip_indexurl)
        if python_version is not None:
            made.set_python_version(python_version)
        for package in conda_packages or ():
            made.add_conda_package(package)
        for package in pip_packages or ():
            made.add_pip_package(package)
        return made

    def assign_to(self, section: PythonSection) -> None:
        """Let `section` ask for these packages, and go on with it."""
        if any(section is known for known in self._sections):
            return
        for name in ("version", "packages", "index", "conda_packages", "conda_channels"):
            setattr(section, name, getattr(self._section.model_copy(deep=True), name))
        section.take_credentials_over(self._section)
        self._sections.append(section)

    @property
    def conda_channels(self) -> list[str]:
        """Where conda packages come from."""
        return list(self._section.conda_channels)

    @property
    def conda_packages(self) -> list[str]:
        """The conda packages, `python=...` before them where a version was asked for."""
        version = self._section.version
        return [*([f"python={version}"] if version else ()), *self._section.conda_packages]

    @property
    def pip_packages(self) -> list[str]:
        """The packages that pip, or uv, installs."""
        return list(self._section.packages)

    @property
    def pip_options(self) -> list[str]:
        """Where they come from, as pip's options."""
        return _write_options(self._section.index)

    def get_python_version(self) -> str | None:
        """The version that was asked for; None is the Python of the compute target."""
        return self._section.version

    def set_python_version(self, version: str) -> None:
        """Ask for this version, such as '3.11'."""
        self._set("version", version)

    def set_pip_index_url(self, index_url: str) -> None:
        """Have packages come from this index; an option as in pip's command line will do, too."""
        self.set_pip_option(f"--index-url {index_url.removeprefix('--index-url').strip()}")

    def set_pip_option(self, pip_option: str) -> None:
        """Take an option of a requirements file, such as `--extra-index-url https://...`."""
        reader = RequirementsReader(may_include=False)
        reader.read_line(Line("set_pip_option", pip_option), Path())
        for name, value in reader.finish().index.items():
            for section in self._sections:
                known = getattr(section.index, name)
                setattr(
                    section.index, name, [*known, *value] if isinstance(known, list) else value
                )

    def remove_pip_option(self, pip_option: str) -> None:
        """Remove an option by its name and all its values; nothing if it is not there."""
        field = {"--index-url": "url", "--extra-index-url": "extra_urls"}.get(pip_option)
        field = field or pip_option.removeprefix("--").replace("-", "_")
        for section in self._sections:
            if field in type(section.index).model_fields:
                setattr(section.index, field, getattr(IndexSection(), field))

    def add_pip_package(self, pip_package: str) -> None:
        """Ask for a package, as in a requirements file, in place of another version of it."""
        _warn_of_sdk(pip_package)
        self._set("packages", [*_without(self.pip_packages, pip_package), pip_package])

    def remove_pip_package(self, pip_package: str) -> None:
        """Remove a package by its name; nothing if it is not there."""
        self._set("packages", _without(self.pip_packages, pip_package))

    def set_pip_requirements(self, pip_requirements: Iterable[str]) -> None:
        """Ask for these packages and no others."""
        for package in pip_requirements:
            _warn_of_sdk(package)
        self._set("packages", list(pip_requirements))

    def add_conda_package(self, conda_package: str) -> None:
        """Ask for a package as conda takes it, in place of another version of it.

        `python=3.11` asks for that Python, and needs no conda.
        """
        if find_name(conda_package) == "pip":
            return  # every environment gets its packages without it
        if find_name(conda_package) == "python" and (version := find_exact_version(conda_package)):
            self.set_python_version(version)
            return
        known = _without_conda(self._section.conda_packages, conda_package)
        self._set("conda_packages", [*known, conda_package])

    def remove_conda_package(self, conda_package: str) -> None:
        """Remove a package by its name; nothing if it is not there."""
        if find_name(conda_package) == "python":
            self._set("version", None)
        known = self._section.conda_packages
        self._set("conda_packages", _without_conda(known, conda_package))

    def add_channel(self, channel: str) -> None:
        """Have conda packages come from this channel, too."""
        if channel not in self.conda_channels:
            self._set("conda_channels", [*self.conda_channels, channel])

    def remove_channel(self, channel: str) -> None:
        """Remove a channel; nothing if it is not there."""
        self._set("conda_channels", [one for one in self.conda_channels if one != channel])

    def as_dict(self) -> dict[str, Any]:
        """What a conda specification says; without credentials."""
        section = self._section.model_copy(deep=True)
        pip = [*_write_options(section.index), *section.model_dump()["packages"]]
        return {
            "channels": self.conda_channels,
            "dependencies": [*self.conda_packages, *([{"pip": pip}] if pip else ())],
        }

    def serialize_to_string(self) -> str:
        """A conda specification as YAML, without credentials."""
        return str(yaml.safe_dump(self.as_dict(), sort_keys=False))

    def save_to_file(
        self, base_directory: str | PathLike[str], conda_file_path: str | None = None
    ) -> str:
        """Write a conda specification there, by default `conda_dependencies.yml`; its name."""
        name = conda_file_path or _FILE_NAME
        self.save(read_path(base_directory) / name)
        return name

    def save(self, path: str | PathLike[str] | None = None) -> str:
        """Write a conda specification, by default `conda_dependencies.yml` here; its path."""
        file = read_path(path or _FILE_NAME)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self.serialize_to_string(), encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"{file} cannot be written: {error.strerror}") from error
        return str(file)

    def __repr__(self) -> str:
        return f"CondaDependencies({self.as_dict()!r})"

    @property
    def _section(self) -> PythonSection:
        return self._sections[-1]

    def _set(self, name: str, value: object) -> None:
        for section in self._sections:
            setattr(section, name, value)

    def _read(self, path: Path) -> None:
        found = read_conda_specification(path)
        if found.variables:
            raise ConfigurationError(
                f"{path}: variables belong to an environment; read the file with "
                "Environment.from_conda_specification, or take them out"
            )
        self._sections = [
            PythonSection(
                version=found.python_version,
                packages=found.pip.packages,
                index=IndexSection.model_validate(found.pip.index),
                conda_packages=found.conda_packages,
                conda_channels=found.channels,
            )
        ]


def _write_options(index: IndexSection) -> list[str]:
    said = index.model_dump()
    options = [f"--index-url {said['url']}"] if said["url"] else []
    options += [f"--extra-index-url {url}" for url in said["extra_urls"]]
    options += [f"--find-links {url}" for url in said["find_links"]]
    options += [f"--{name.replace('_', '-')}" for name in ("no_index", "pre") if said[name]]
    options += [f"--no-binary {name}" for name in said["no_binary"]]
    options += [f"--only-binary {name}" for name in said["only_binary"]]
    return options + [f"--trusted-host {host}" for host in said["trusted_hosts"]]


def _without(packages: Sequence[str], package: str) -> list[str]:
    name = _pip_name(package)
    return [one for one in packages if name is None or _pip_name(one) != name]


def _pip_name(package: str) -> str | None:
    match = _PIP_NAME.match(package)
    return canonicalize_name(match[1]) if match else None


def _without_conda(packages: Sequence[str], package: str) -> list[str]:
    return [one for one in packages if find_name(one) != find_name(package)]


def _warn_of_sdk(package: str) -> None:
    if _pip_name(package) in _SDK:
        warnings.warn(
            f"{package}: where it is installed, `from azureml.core import Run` in a script is "
            "Azure ML's own, which knows nothing of the run and keeps nothing that it logs; leave "
            "it out, for scripts need it no more",
            stacklevel=3,
        )
