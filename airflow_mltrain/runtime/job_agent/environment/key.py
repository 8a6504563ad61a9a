"""What tells one environment from another: its packages, and what it is built on."""

import json
from typing import Any, Dict, NamedTuple, Optional

from .interpreter import Interpreter, conda_platform, find_interpreter, platform_of

_FORMAT = 1  # another one makes every environment anew


class Foundation(NamedTuple):
    """What an environment is built on; conda brings a Python of its own."""

    platform: str
    interpreter: Optional[Interpreter]


def find_foundation(recipe: Dict[str, Any], memory: str) -> Foundation:
    """What this machine builds the recipe on; `memory` is where an interpreter once found is kept.

    InterpreterNotFoundError where the machine lacks that Python.
    """
    if recipe["conda"] is not None:
        return Foundation(conda_platform(), None)
    interpreter = find_interpreter(recipe["python"], memory)
    return Foundation(platform_of(interpreter), interpreter)


def key_of(lock: Dict[str, Any], foundation: Foundation) -> str:
    """The name of the environment on this machine: equal ones have the same, whoever asks."""
    import hashlib  # noqa: PLC0415  # dear at start-up, for jobs that need no environment

    content = {
        "format": _FORMAT,
        "packages": lock["packages"],
        "conda": lock["conda"],
        "python": foundation.interpreter and list(foundation.interpreter),
        "platform": foundation.platform,
    }
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]
