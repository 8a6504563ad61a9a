"""The environments that come with this package."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from airflow_mltrain.config.environment import Environment

if TYPE_CHECKING:
    from collections.abc import Mapping

_CURATED: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        # The target's own Python, with its standard library and the `mltrain` module.
        "MLTrain-Minimal": {
            "python": {"user_managed_dependencies": True, "interpreter_path": "python3"},
        },
    }
)

CURATED_NAMES: Final = tuple(_CURATED)


def find_curated(name: str) -> Environment | None:
    """The curated environment of this name, a new one each time; None if there is none."""
    content = _CURATED.get(name)
    return None if content is None else Environment(name, **content)
