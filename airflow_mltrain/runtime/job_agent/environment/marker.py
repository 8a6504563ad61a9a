"""The files that say which environments of a machine are ready, written whole or not at all."""

import json
import os
import re
from typing import Any, Dict, List, NamedTuple, Optional, Set

from .tree import is_tree_id

_NAME = re.compile(r"([0-9a-f]{32})\.json")


class Marker(NamedTuple):
    """A ready environment: its tree, the name it was first built for, what is in it."""

    tree: str
    name: str
    resolved: Dict[str, Any]
    bytes: int
    built_at: float


class MarkerFolder:
    """`<key>.json` for each ready environment; the file's own time is that of its last use."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def keys(self) -> List[str]:
        """The keys of all that may be ready."""
        try:
            names = sorted(os.listdir(self._folder))
        except FileNotFoundError:
            return []
        found = (_NAME.fullmatch(name) for name in names)
        return [match.group(1) for match in found if match]

    def read(self, key: str) -> Optional[Marker]:
        """What is ready under that key; None too where the file is damaged."""
        content = read_json(self._path(key))
        try:
            marker = Marker(**content)
            is_sound = is_tree_id(marker.tree) and marker.resolved["key"] == key
        except (TypeError, KeyError):
            return None
        return marker if is_sound and _is_complete(marker) else None

    def write(self, marker: Marker, scratch: str) -> None:
        """Declare an environment ready; its draft is written in the folder `scratch`."""
        write_lasting(self._path(marker.resolved["key"]), marker._asdict(), scratch)

    def remove(self, key: str) -> None:
        """Take the word back, for good before the environment itself is touched."""
        os.unlink(self._path(key))
        _make_names_lasting(self._folder)

    def last_used_at(self, key: str) -> float:
        """When it was last given out, in seconds since 1970; 0 where there is none."""
        try:
            return os.stat(self._path(key)).st_mtime
        except FileNotFoundError:
            return 0

    def note_use(self, key: str) -> None:
        """It is being given out now."""
        os.utime(self._path(key))

    def named_trees(self) -> Set[str]:
        """The trees of all that is ready, and of what a newer agent may have made ready."""
        contents = (read_json(self._path(key)) for key in self.keys())
        return {str(content.get("tree")) for content in contents if isinstance(content, dict)}

    def _path(self, key: str) -> str:
        return os.path.join(self._folder, key + ".json")


def is_lock(content: Any) -> bool:
    """Whether it has the exact packages of an environment, of both kinds, each a text."""
    if not isinstance(content, dict):
        return False
    lists = [content.get("packages"), content.get("conda")]
    return all(
        isinstance(lines, list) and all(isinstance(line, str) for line in lines) for lines in lists
    )


def _is_complete(marker: Marker) -> bool:
    texts = [marker.name, *map(marker.resolved.get, ("recipe_id", "platform", "python"))]
    return is_lock(marker.resolved) and all(isinstance(text, str) for text in texts)


def read_json(path: str) -> Any:
    """What the file says; None where there is none, or it is damaged."""
    try:
        with open(path, "rb") as file:
            return json.load(file)
    except (FileNotFoundError, PermissionError, ValueError):
        return None


def write_lasting(path: str, content: Dict[str, Any], scratch: str) -> None:
    """Replace the file, whole or not at all, through a power cut too."""
    draft = os.path.join(scratch, os.path.basename(path))
    with open(draft, "w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    _make_names_lasting(os.path.dirname(path))


def _make_names_lasting(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
