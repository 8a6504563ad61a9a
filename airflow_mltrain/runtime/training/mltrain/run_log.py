"""What a script says of its run: metrics, tags and properties, each a line of the journal."""
# ruff: noqa: ARG002  # Azure ML's signatures

import json
import time
from typing import Any, Dict, Iterable, Optional

from .journal import Journal
from .value import as_json, as_list, as_plain, as_text, parts_of_list, parts_of_table, schema_of

_MOST_NAMES = 20_000


class RunLog:
    """One run's part of a journal that other runs of the same job share.

    Every call has written when it returns.
    """

    def __init__(self, journal: Journal, run_id: str, *, is_child: bool = False) -> None:
        self._journal = journal
        self._id = run_id
        self._mark = {"run": run_id} if is_child else {}
        self._beginnings: Dict[str, str] = {}  # of lines, by name: most is logged again and again

    def log(
        self, name: str, value: Any, description: str = "", step: Optional[int] = None
    ) -> None:
        """Log a number or a text; one name logged again becomes a series.

        Numbers may be NaN or infinite, and one name may have values of several kinds.
        """
        kind = type(value)
        if (kind is float and value - value == 0.0) and (step is None or type(step) is int):
            begin = self._beginnings.get(name) or self._begin(name)
            # As `json.dumps` would, in half the time.
            line = "%s%r,%s}\n" % (begin, value, _stamp(step))
            self._journal.append(line.encode())
            if self._journal.is_offline:
                self._show("metric", name, value)
            return
        facts = {} if step is None else {"step": as_plain(step)}
        self._write("metric", name, as_plain(value), **facts)

    def log_list(self, name: str, value: Iterable[Any], description: str = "") -> None:
        """Log a list of values as one."""
        for part, values in enumerate(parts_of_list(as_list(value))):
            self._write("metric", name, values, kind="list" if part == 0 else "list+")

    def log_row(self, name: str, description: str = "", **kwargs: Any) -> None:
        """Log one row of a table; rows of one name belong together."""
        self._write("metric", name, as_plain(kwargs), kind="row")

    def log_table(self, name: str, value: Any, description: str = "") -> None:
        """Log a table, a dictionary of equally long columns; unequal ones raise ValueError."""
        columns = {str(column): as_list(values) for column, values in value.items()}
        if len({len(values) for values in columns.values()}) > 1:
            raise ValueError("the columns of table {!r} differ in length".format(name))
        for part, rows in enumerate(parts_of_table(columns)):
            self._write("metric", name, rows, kind="table" if part == 0 else "table+")

    def log_confusion_matrix(self, name: str, value: Any, description: str = "") -> None:
        """Log a confusion matrix: `data` has `class_labels` and a `matrix` of counts."""
        self._chart("confusion_matrix", name, value)

    def log_accuracy_table(self, name: str, value: Any, description: str = "") -> None:
        """Log an accuracy table, from which curves of precision and recall are drawn."""
        self._chart("accuracy_table", name, value)

    def log_residuals(self, name: str, value: Any, description: str = "") -> None:
        """Log the residuals of a regression: `data` has `bin_edges` and `bin_counts`."""
        self._chart("residuals", name, value)

    def log_predictions(self, name: str, value: Any, description: str = "") -> None:
        """Log predictions of a regression: `data` has averages and errors for each bin."""
        self._chart("predictions", name, value)

    def tag(self, key: str, value: Any = None) -> None:
        """Set a tag of the run; the last value of a key stays."""
        self._write("tag", key, None if value is None else as_text(value))

    def set_tags(self, tags: Any) -> None:
        """Set several tags; those that are not named stay as they are."""
        for key, value in dict(tags).items():
            self.tag(key, value)

    def remove_tags(self, tags: Any) -> None:
        """Remove tags by their keys, one or several; nothing where there is none."""
        for key in [tags] if isinstance(tags, str) else list(tags):
            self._write("untag", key, None)

    def add_properties(self, properties: Any) -> None:
        """Note properties; unlike a tag, one that is there keeps its first value."""
        for key, value in dict(properties).items():
            self._write("property", key, "" if value is None else as_text(value))

    def flush(self, timeout_seconds: float = 300) -> None:
        """Do nothing: every call has written when it returns."""

    def _chart(self, schema_type: str, name: str, value: Any) -> None:
        name, data = schema_of(name, value, schema_type)
        self._write("metric", name, data, kind=schema_type)

    def _write(self, what: str, name: str, value: Any, **facts: Any) -> None:
        _require_name(name)
        message = dict({"type": what, "name": name, "value": value}, **facts)
        message.update(self._mark)
        message["time"] = time.time()
        self._journal.append(as_json(name, message))
        if self._journal.is_offline:
            self._show(what, name, value)

    def _show(self, what: str, name: str, value: Any) -> None:
        self._journal.show("{} (offline): {} = {}".format(what, name, value))

    def _begin(self, name: str) -> str:
        _require_name(name)
        message = dict(self._mark, type="metric", name=name)
        begin = json.dumps(message)[:-1] + ',"value":'
        if len(self._beginnings) < _MOST_NAMES and len(begin) < 10_000:  # noqa: PLR2004
            self._beginnings[name] = begin
        else:
            as_json(name, message)  # raises where it is too long
        return begin


def _stamp(step: Optional[int]) -> str:
    now = time.time()
    return '"time":%r' % now if step is None else '"step":%d,"time":%r' % (step, now)


def _require_name(name: Any) -> None:
    if not isinstance(name, str) or not name:
        raise ValueError("a name must be a text that is not empty, not {!r}".format(name))
