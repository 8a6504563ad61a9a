"""What the journal says so far: a script reads back what it, and others of its job, have said."""

import _thread
import os
from typing import Any, Dict, Iterable, List

from .journal import Journal, decode_lines


class Story:
    """What is known of one run, from its lines."""

    def __init__(self) -> None:
        self.tags: Dict[str, str] = {}
        self.properties: Dict[str, str] = {}
        self.display_name = ""
        self.status = "Running"
        self.error = ""
        self.parent = ""
        self.models: List[Dict[str, Any]] = []

    def take(self, message: Dict[str, Any]) -> None:
        """Go on by one line."""
        what, name, value = message.get("type"), message["name"], message.get("value")
        if what == "tag":
            self.tags[name] = "" if value is None else value
        elif what == "untag":
            self.tags.pop(name, None)
        elif what == "property":
            self.properties.setdefault(name, value or "")
        elif what == "display_name":
            self.display_name = name
        elif what == "status":
            self.status, self.error = name, value or ""
        elif what == "model":
            self.models.append(dict(value or {}, name=name))
        elif what == "child" and isinstance(value, dict):
            self.parent = str(value.get("parent", ""))
            self.display_name = name


class Statements:
    """Every run of a journal, read on where the last look ended."""

    def __init__(self, journal: Journal, own_id: str) -> None:
        self._journal = journal
        self._own_id = own_id
        self._position = 0
        self._stories: Dict[str, Story] = {own_id: Story()}
        self._renew_lock()
        if hasattr(os, "register_at_fork"):  # a thread may hold it when another one forks
            os.register_at_fork(after_in_child=self._renew_lock)

    def of(self, run_id: str) -> Story:
        """What was said of a run until now."""
        with self._lock:
            self._read_on()
            return self._stories.setdefault(run_id, Story())

    def _renew_lock(self) -> None:
        self._lock = _thread.allocate_lock()

    def _read_on(self) -> None:
        for content in self._journal.read_from(self._position):
            self._position += len(content)
            for message in decode_lines(content):
                told = str(message.get("run", self._own_id))
                self._stories.setdefault(told, Story()).take(message)

    def children_of(self, run_id: str) -> List[str]:
        """The ids of a run's children, in the order in which they were made."""
        self.of(run_id)
        stories = dict(self._stories)
        return [child for child, story in stories.items() if story.parent == run_id]

    def metrics_of(self, run_ids: Iterable[str], name: Any = None) -> Dict[str, Dict[str, Any]]:
        """The metrics of some runs by their ids, arranged as `Run.get_metrics` says."""
        from .arrangement import arrange  # noqa: PLC0415  # few scripts ask

        points: Dict[str, List[Any]] = {run_id: [] for run_id in run_ids}
        for content in self._journal.read_from(0):
            for message in decode_lines(content):
                told = str(message.get("run", self._own_id))
                is_asked = name is None or message["name"] == name
                if message.get("type") == "metric" and told in points and is_asked:
                    points[told].append(
                        (message["name"], message.get("value"), message.get("kind"))
                    )
        return {run_id: arrange(found) for run_id, found in points.items()}
