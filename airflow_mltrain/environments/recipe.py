"""The recipe of an environment: plain data that says what to build, the same for equal content."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from airflow_mltrain.config.conda_package import find_name
from airflow_mltrain.config.package_url import remove_user_part
from airflow_mltrain.config.requirement import RequirementLine
from airflow_mltrain.config.text import is_template
from airflow_mltrain.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_mltrain.config.environment import Environment
    from airflow_mltrain.config.python_section import IndexSection, PythonSection

FORMAT: Final = 1


def write_recipe(environment: Environment) -> dict[str, Any]:
    """The recipe of an environment that is not user-managed.

    The order and spelling of packages does not count; the order of URLs and channels does. Raises
    ConfigurationError where a template was not rendered or one setting contradicts another.
    """
    python = environment.python
    try:
        _check_rendered(python)
        return {
            "format": FORMAT,
            "python": None if python.conda_packages else python.version,
            "packages": _write_packages(python.packages),
            "constraints": _write_lines(map(RequirementLine.parse, python.constraints)),
            "index": _write_index(python.index),
            "conda": _write_conda(python),
        }
    except ValueError as error:
        raise ConfigurationError(f"environment {environment.name!r}: {error}") from None


def list_wheel_digests(recipe: Mapping[str, Any]) -> frozenset[str]:
    """The sha256 of each private wheel in a recipe."""
    digests = (RequirementLine.parse(line).wheel_digest for line in recipe["packages"])
    return frozenset(digest for digest in digests if digest)


def _check_rendered(python: PythonSection) -> None:
    for key, value in _list_settings(python):
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and is_template(text):
                raise ValueError(
                    f"{key} has a Jinja template that nothing has rendered; templates are "
                    "rendered in a Dag, elsewhere write the value"
                )


def _list_settings(python: PythonSection) -> Iterator[tuple[str, object]]:
    yield from ((f"python.index.{key}", value) for key, value in python.index)
    yield from ((f"python.{key}", value) for key, value in python)


def _write_packages(packages: Iterable[str]) -> list[str]:
    lines = [RequirementLine.parse(package) for package in packages]
    if any(line.hashes for line in lines):
        lines = [line.with_hashes() for line in lines]
    return _write_lines(lines)


def _write_lines(lines: Iterable[RequirementLine]) -> list[str]:
    return sorted({remove_user_part(str(line)) for line in lines})


def _write_index(index: IndexSection) -> dict[str, Any]:
    both = sorted(set(index.no_binary) & set(index.only_binary) - {":none:"})
    if both:
        raise ValueError(
            f"{', '.join(both)} stands both in python.index.no_binary and in only_binary; "
            "leave one of them"
        )
    return {
        "url": None if index.url is None else remove_user_part(index.url),
        "extra_urls": _write_urls(index.extra_urls),
        "find_links": _write_urls(index.find_links),
        "no_index": index.no_index,
        "pre": index.pre,
        "no_binary": _write_selection(index.no_binary),
        "only_binary": _write_selection(index.only_binary),
        "trusted_hosts": sorted({host.lower() for host in index.trusted_hosts}),
    }


def _write_urls(urls: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(map(remove_user_part, urls)))


def _write_selection(names: list[str]) -> list[str]:
    counting = names
    if ":none:" in names:  # takes back all before it
        counting = names[len(names) - names[::-1].index(":none:") :]
    return [":all:"] if ":all:" in counting else sorted(set(counting))


def _write_conda(python: PythonSection) -> dict[str, Any] | None:
    if not python.conda_packages:
        if python.conda_channels:
            raise ValueError(
                "python.conda_channels was given, and no python.conda_packages; add packages to "
                "be taken from these channels, or leave them out"
            )
        return None
    packages = {" ".join(package.split()) for package in python.conda_packages}
    names_python = any(find_name(package) == "python" for package in packages)
    if names_python and python.version is not None:
        raise ValueError(
            f"python.version = {python.version!r} and 'python' in python.conda_packages were "
            "both given; leave one of them"
        )
    if not names_python:
        packages.add("python" if python.version is None else f"python={python.version}")
    channels = list(dict.fromkeys(python.conda_channels))
    return {"packages": sorted(packages), "channels": channels}
