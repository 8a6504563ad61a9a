"""The packages that are installed for the running Python, as a list to install elsewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, Final

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from airflow_mltrain.config.package_url import remove_user_part
from airflow_mltrain.errors import ConfigurationError

_LEFT_OUT: Final = frozenset({"pip", "setuptools", "wheel", "distribute"})
_SITE_FOLDERS: Final = ("site-packages", "dist-packages")


def freeze(*, exclude: Iterable[str] = (), folders: Sequence[str] | None = None) -> list[str]:
    """Exact requirements for everything installed below `folders`, sorted.

    Unless given, these are the site-packages of the running Python. pip, setuptools and wheel are
    left out. Raises ConfigurationError naming all packages that come from a folder or a file of
    this machine, unless they are excluded.
    """
    searched = _list_site_folders() if folders is None else list(folders)
    excluded = _LEFT_OUT | {canonicalize_name(name) for name in exclude}
    lines: dict[str, str | None] = dict.fromkeys(_list_linked(searched))
    for distribution in distributions(path=searched):
        name = distribution.metadata["Name"]
        if name and canonicalize_name(name) not in lines:  # the first one found is imported
            lines[canonicalize_name(name)] = _write(distribution, canonicalize_name(name))
    local = sorted(name for name in lines.keys() - excluded if lines[name] is None)
    if local:
        raise ConfigurationError(
            f"{', '.join(local)}: installed from a folder or a file of this machine, which no "
            "other machine has; leave out what the script does not need with "
            f"exclude={local!r}, and add the others with Environment.add_private_pip_wheel"
        )
    return sorted(line for name, line in lines.items() if line and name not in excluded)


def _list_site_folders() -> list[str]:
    return [path for path in sys.path if Path(path).name in _SITE_FOLDERS]


def _list_linked(folders: Iterable[str]) -> Iterator[str]:
    for folder in folders:
        for link in Path(folder).glob("*.egg-link"):
            yield canonicalize_name(link.stem)


def _write(distribution: Distribution, name: str) -> str | None:
    origin = distribution.read_text("direct_url.json")
    if origin is not None:
        return _write_origin(name, origin)
    try:
        Version(distribution.version)
    except InvalidVersion:
        return f"{name}==={distribution.version}"
    return f"{name}=={distribution.version}"


def _write_origin(name: str, origin: str) -> str | None:
    facts: dict[str, Any] = json.loads(origin)
    url = remove_user_part(str(facts.get("url", "")))
    if "dir_info" in facts or url.startswith("file:"):
        return None
    fragments = []
    if "vcs_info" in facts:
        url = f"{facts['vcs_info']['vcs']}+{url}@{facts['vcs_info']['commit_id']}"
    elif digest := facts.get("archive_info", {}).get("hashes", {}).get("sha256"):
        fragments.append(f"sha256={digest}")
    if facts.get("subdirectory"):
        fragments.append(f"subdirectory={facts['subdirectory']}")
    return f"{name} @ {url}" + (f"#{'&'.join(fragments)}" if fragments else "")
