"""What tells one environment from another: its packages, and what it is built on."""

import json
import os
from typing import Any, Dict, NamedTuple, Optional, Tuple

from .interpreter import (
    Interpreter,
    conda_platform,
    find_interpreter,
    platform_of,
    recall_interpreter,
)

_FORMAT = 1  # another one makes every environment anew


class Foundation(NamedTuple):
    """What an environment is built on, and where; conda brings a Python of its own."""

    platform: str
    interpreter: Optional[Interpreter]
    paths: Tuple[str, ...]
    image: Optional[str] = None  # of the container it is built in


def find_foundation(request: Dict[str, Any], folder: str) -> Foundation:
    """What this machine builds the request's recipe on in the cache's folder.

    InterpreterNotFoundError where the machine lacks that Python.
    """
    recipe, paths, image = request["recipe"], _paths(folder), request.get("image")
    if recipe["conda"] is not None:
        return Foundation(conda_platform(), None, paths, image)
    interpreter = find_interpreter(recipe["python"], _memory(folder, image))
    return Foundation(platform_of(interpreter), interpreter, paths, image)


def recall_foundation(request: Dict[str, Any], folder: str) -> Optional[Foundation]:
    """As `find_foundation`, at once: None where an interpreter would have to be searched for."""
    recipe, paths, image = request["recipe"], _paths(folder), request.get("image")
    if recipe["conda"] is not None:
        return Foundation(conda_platform(), None, paths, image)
    interpreter = recall_interpreter(recipe["python"], _memory(folder, image))
    return interpreter and Foundation(platform_of(interpreter), interpreter, paths, image)


def key_of(lock: Dict[str, Any], foundation: Foundation) -> str:
    """The name of the environment on this machine: equal ones have the same, whoever asks."""
    import hashlib  # noqa: PLC0415  # dear at start-up, for jobs that need no environment

    content: Dict[str, Any] = {
        "format": _FORMAT,
        "packages": lock["packages"],
        "conda": lock["conda"],
        "python": foundation.interpreter and list(foundation.interpreter),
        "platform": foundation.platform,
        # The programs in an environment name its path: in a folder that was moved, or that is
        # mounted elsewhere too, it is another one. Both are there, neither waits for the other.
        "paths": foundation.paths,
    }
    if foundation.image is not None:
        content["image"] = foundation.image
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def _paths(folder: str) -> Tuple[str, str]:
    return os.path.abspath(folder), os.path.realpath(folder)


def _memory(folder: str, image: Optional[str]) -> str:
    name = "interpreters" if image is None else "interpreters-" + image.rpartition(":")[2][:16]
    return os.path.join(folder, name + ".json")
