"""`mltrain diff`: in what two runs differ."""

from __future__ import annotations

import difflib
import json
import shlex
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from airflow_mltrain.cli.comparison import (
    Change,
    Comparison,
    compare,
    read_manifest,
)
from airflow_mltrain.cli.quick_workspace import look_at, open_workspace
from airflow_mltrain.cli.run_facts import run_facts
from airflow_mltrain.cli.table import render_table, render_time
from airflow_mltrain.cli.terminal_text import clip, printable, printable_lines
from airflow_mltrain.runs.series import describe_value, finite_numbers, strict_json
from airflow_mltrain.snapshots.manifest import Entry
from airflow_mltrain.workspace import Workspace

_MOST_ROWS: Final = 100
_NAME_COLUMNS: Final = 60
_COLUMNS: Final = 40
_MOST_BYTES: Final = 1_000_000
_SECTIONS: Final = (
    ("settings", "SETTING"),
    ("packages", "PACKAGE"),
    ("metrics", "METRIC"),
)


def diff_runs(arguments: Namespace) -> int:
    """Print what differs between two runs, and where there is nothing that there is not."""
    workspace = open_workspace()
    a, b = (look_at(workspace, run_id) for run_id in (arguments.a, arguments.b))
    found = compare(workspace, a, b)
    if arguments.json:
        print(json.dumps(_as_json(found), indent=2))
    else:
        print("\n\n".join(_parts(found)))
    if arguments.patch:
        for piece in _patches(workspace, found):
            print(piece)
    return 0


def _as_json(found: Comparison) -> dict[str, Any]:
    words = {sign: [list(one) for mark, one in found.command if mark == sign] for sign in "-+"}
    return {
        "a": run_facts(found.a),
        "b": run_facts(found.b),
        "command": {"removed": words["-"], "added": words["+"]},
        **{
            name: [strict_json(vars(change)) for change in getattr(found, name)]
            for name, _ in _SECTIONS
        },
        "source": None if found.source is None else asdict(found.source),
    }


def _parts(found: Comparison) -> Iterator[str]:
    runs = (("a", found.a), ("b", found.b))
    yield render_table(
        ("", "RUN", "STATUS", "TARGET", "SUBMITTED (UTC)"),
        [
            (name, run.run_id, run.status, run.target, render_time(run.created_at))
            for name, run in runs
        ],
    )
    if found.command:
        lines = [f"{sign} {printable(shlex.join(words))}" for sign, words in found.command]
        yield "\n".join(["COMMAND", *lines])
    for name, heading in _SECTIONS:
        if changes := getattr(found, name):
            yield _table(heading, changes)
    if source := _describe_source(found):
        yield source
    differs = {"command": found.command, "settings": found.settings, "packages": found.packages}
    same = [name for name, differences in {**differs, "source": source}.items() if not differences]
    if same:
        yield f"the same: {', '.join(same)}"


def _table(heading: str, changes: Sequence[Change]) -> str:
    is_metric = heading == "METRIC"
    headings = (heading, "A", "B", *(["CHANGE"] if is_metric else []))
    rows = [
        (
            clip(printable(change.name), _NAME_COLUMNS),
            _cell(change.a),
            _cell(change.b),
            *([_difference(change)] if is_metric else []),
        )
        for change in changes[:_MOST_ROWS]
    ]
    more = len(changes) - _MOST_ROWS
    return render_table(headings, rows) + (f"\nand {more} more; see --json" if more > 0 else "")


def _cell(value: Any) -> str:
    return "-" if value is None else clip(printable(describe_value(value)), _COLUMNS)


def _difference(change: Change) -> str:
    numbers = finite_numbers((change.a, change.b))
    return f"{numbers[1] - numbers[0]:+.6g}" if len(numbers) == 2 else ""  # noqa: PLR2004


def _describe_source(found: Comparison) -> str:
    if found.source is None:
        return "SOURCE\nnot kept any more of one of them"
    lines = [
        f"{mark} {printable(path)}"
        for mark in ("added", "removed", "changed")
        for path in getattr(found.source, mark)
    ]
    more = len(lines) - _MOST_ROWS
    shown = [*lines[:_MOST_ROWS], *([f"and {more} more; see --json"] if more > 0 else [])]
    return "\n".join(["SOURCE", *shown]) if lines else ""


def _patches(workspace: Workspace, found: Comparison) -> Iterator[str]:
    """How the files that are text differ, as a patch."""
    a, b = (read_manifest(workspace, run) or {} for run in (found.a, found.b))
    for path in sorted(a.keys() | b.keys()):
        before, after = a.get(path), b.get(path)
        if before == after:
            continue
        old, new = (_read_lines(workspace, entry) for entry in (before, after))
        if old is None or new is None:
            yield f"\n{printable(path)}: not shown, as it is no text, or long"
            continue
        name = printable(path)
        lines = difflib.unified_diff(old, new, f"a/{name}", f"b/{name}", lineterm="")
        yield "\n" + "\t".join(map(printable_lines, "\n".join(lines).split("\t")))


def _read_lines(workspace: Workspace, entry: Entry | None) -> list[str] | None:
    """What a patch has of a file; None of what is no text, or long."""
    if entry is None:
        return []
    if entry.target is not None:
        return [entry.target]
    if (entry.size or 0) > _MOST_BYTES or entry.sha256 is None:
        return None
    try:
        return workspace.artifacts.blobs.read(entry.sha256).decode().splitlines()
    except UnicodeDecodeError:
        return None
