"""The conda specification inside another file, changed item by item."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from airflow_mltrain.config.conda_dependencies import CondaDependencies
from airflow_mltrain.config.conda_package import find_exact_version, find_name, is_any_version
from airflow_mltrain.config.environment_reading import is_sdk
from airflow_mltrain.config.python_section import IndexSection, PythonSection
from airflow_mltrain.config.requirements_file import Line, RequirementsReader


def change_packages(said: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """What `said` says, with the packages of `wanted`, as `CondaDependencies.as_dict` has them.

    What asks for nothing here, a name or Azure ML's own SDK, stays, and so does the spelling of
    what is in both, credentials with it.
    """
    pip = [
        line for item in wanted["dependencies"] if isinstance(item, dict) for line in item["pip"]
    ]
    packages = [item for item in wanted["dependencies"] if isinstance(item, str)]
    dependencies = _arrange(said.get("dependencies") or [], packages, _read_conda)
    below = next((item for item in dependencies if isinstance(item, dict)), None)
    if below is not None:
        changed = {"pip": _arrange(below.get("pip") or [], pip, _read_pip)}
        dependencies[dependencies.index(below)] = changed
    elif pip:
        dependencies.append({"pip": pip})
    channels = said.get("channels")
    if any(find_name(one) != "python" for one in packages):  # without, no channel counts
        channels = _arrange(channels or [], wanted["channels"], lambda item: [item])
    changed = {**said, "dependencies": dependencies}
    return {**changed, "channels": channels} if channels or "channels" in said else changed


def _arrange(
    said: Sequence[Any], wanted: Sequence[str], read: Callable[[Any], list[str]]
) -> list[Any]:
    """The items that ask for what is wanted, or for nothing, and what else is wanted."""
    kept = [item for item in said if not read(item) or any(one in wanted for one in read(item))]
    known = [one for item in kept for one in read(item)]
    added = [one for one in wanted if one not in known]
    end = len(kept) - bool(kept and isinstance(kept[-1], dict))
    arranged = [*kept[:end], *added, *kept[end:]]
    order = [one for item in arranged for one in read(item)]
    if _list_packages(order) == _list_packages(wanted):
        return arranged
    spelling = {one: item for item in kept for one in read(item)}
    idle = [item for item in kept if not read(item)]
    return [*dict.fromkeys(spelling.get(one, one) for one in wanted), *idle]


def _list_packages(entries: Sequence[str]) -> list[str]:
    return [one for one in entries if not one.startswith("-") and find_name(one) != "python"]


def _read_conda(item: Any) -> list[str]:
    if isinstance(item, dict) or find_name(str(item)) == "pip":
        return []
    text = str(item).strip()
    if find_name(text) != "python":
        return [text]
    if is_any_version(text):
        return []
    version = find_exact_version(text)
    return [text if version is None else f"python={version}"]


def _read_pip(line: Any) -> list[str]:
    reader = RequirementsReader(may_include=False)
    reader.read_line(Line("", str(line).strip()), Path())
    found = reader.finish()
    packages = [one for one in found.packages if not is_sdk(one)]
    section = PythonSection(packages=packages, index=IndexSection.model_validate(found.index))
    dependencies = CondaDependencies(_underlying_structure=section).as_dict()["dependencies"]
    return [line for item in dependencies for line in item["pip"]]
