"""What an environment asks for, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from airflow_mltrain.config.environment import Environment
    from airflow_mltrain.config.python_section import PythonSection

_SHOWN_PACKAGES: Final = 3
_INDENT: Final = 22


def summarize(environment: Environment) -> str:
    """What it asks for in a few words, on one line."""
    python = environment.python
    if python.user_managed_dependencies:
        parts = [f"{python.interpreter_path} as it is"]
    else:
        version = [] if python.version is None else [f"Python {python.version}"]
        packages = [*python.conda_packages, *python.packages]
        parts = [*version, _shorten(packages) if packages else "no packages"]
    docker = environment.docker
    if docker.base_image:
        parts.append(f"image {docker.base_image}")
    elif docker.base_dockerfile or docker.build_context:
        context = docker.build_context
        origin = f"of {context.location or context.snapshot_id[:12]}" if context else "given"
        parts.append(f"image of a Dockerfile {origin}")
    if environment.spark.packages:
        parts.append(f"Spark with {_shorten(environment.spark.packages)}")
    return "; ".join(parts)


def describe(
    environment: Environment,
    labels: Sequence[str],
    locks: Mapping[str, Mapping[str, Any]],
) -> str:
    """What it asks for, and by platform the exact packages in `locks`; a line each.

    Of its environment variables only the names are told.
    """
    lines: list[tuple[str, Sequence[str]]] = [
        ("name", [environment.name]),
        ("version", [environment.version or "-"]),
        ("labels", labels),
        *_describe_python(environment.python),
    ]
    lines.append(("variables", list(environment.environment_variables)))
    for title in ("docker", "spark"):
        lines += [(f"{title} {key}", values) for key, values in _list_given(environment, title)]
    for platform, lock in sorted(locks.items()):
        packages = [package.partition(" --hash=")[0] for package in lock["packages"]]
        lines += [("resolved on", [platform]), ("", [*lock["conda"], *packages])]
    return "\n".join(_lay_out(title, values) for title, values in lines if values)


def _describe_python(python: PythonSection) -> list[tuple[str, Sequence[str]]]:
    if python.user_managed_dependencies:
        return [("python", [f"{python.interpreter_path}, used as it is"])]
    index = python.index
    flags = [name for name, is_set in (("no index", index.no_index), ("pre", index.pre)) if is_set]
    return [
        ("python", [python.version or "the one of the compute target"]),
        ("packages", python.packages or ["none"]),
        ("constraints", python.constraints),
        ("conda packages", python.conda_packages),
        ("conda channels", python.conda_channels),
        ("index", [] if index.url is None else [index.url]),
        ("extra indexes", index.extra_urls),
        ("find links", index.find_links),
        ("index options", flags),
        ("no binary", index.no_binary),
        ("only binary", index.only_binary),
        ("trusted hosts", index.trusted_hosts),
    ]


def _list_given(environment: Environment, title: str) -> Iterator[tuple[str, list[str]]]:
    section = getattr(environment, title)
    plain = type(section)()
    for key, value in section:
        if value == getattr(plain, key):
            continue
        if isinstance(value, Mapping):
            yield key, [f"{name} = {one}" for name, one in value.items()]
        else:
            yield key, [str(one) for one in (value if isinstance(value, list) else [value])]


def _lay_out(title: str, values: Sequence[str]) -> str:
    first, *rest = values
    return "\n".join([f"{title:<{_INDENT}}{first}", *(" " * _INDENT + one for one in rest)])


def _shorten(packages: Sequence[str]) -> str:
    shown = [package.partition(" --hash=")[0] for package in packages[:_SHOWN_PACKAGES]]
    more = len(packages) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
