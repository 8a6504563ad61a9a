"""From what a run really used back to an environment that asks for exactly that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_mltrain.config.environment import Environment

_HASH = " --hash="


def pin_environment(environment: Environment, resolved: Mapping[str, Any]) -> Environment:
    """A copy that asks for the resolved packages, and for that version of Python, alone."""
    pinned = environment.model_copy(deep=True)
    pinned.version = None  # its content is another than that version's
    python = pinned.python
    python.constraints = []
    packages = list(resolved["packages"])
    if not all(_HASH in line for line in packages):
        packages = [line.partition(_HASH)[0] for line in packages]  # some come without, from git
    python.packages = packages
    if not resolved["conda"]:
        python.version = ".".join(resolved["python"].split(".")[:2])
    else:  # its python is one of them
        python.version = None
        python.conda_packages = [_conda_package(url) for url in resolved["conda"]]
    return pinned


def _conda_package(url: str) -> str:
    """`name=version=build`, from the file name that every package's URL ends with."""
    file_name = url.partition("#")[0].rpartition("/")[2]
    stem = file_name.removesuffix(".conda").removesuffix(".tar.bz2")
    name, version, build = stem.rsplit("-", 2)
    return f"{name}={version}={build}"
