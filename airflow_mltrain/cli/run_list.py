"""`mltrain list`: the runs there are, newest first."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Final

from airflow_mltrain.cli.quick_workspace import open_history
from airflow_mltrain.cli.run_facts import describe_tags, render_time_taken, run_facts
from airflow_mltrain.cli.table import render_table, render_time
from airflow_mltrain.runs.record import RunRecord

_HEADINGS: Final = ("RUN", "STATUS", "TARGET", "SUBMITTED (UTC)", "TOOK", "TAGS")


def list_runs(arguments: Namespace) -> int:
    """Print a page of the submitted runs, and how to have the next one."""
    runs = open_history().list_runs(
        arguments.experiment,
        limit=arguments.limit + 1,  # whether there are more
        statuses=frozenset(arguments.status),
        tags=dict(arguments.tag),
        before=arguments.before,
    )
    shown = runs[: arguments.limit]
    following = shown[-1].run_id if shown and len(runs) > len(shown) else None
    if arguments.json:
        print(json.dumps({"runs": [run_facts(run) for run in shown], "next": following}, indent=2))
        return 0
    print(_as_table(shown) if shown else "there is no such run")
    if following is not None and sys.stdout.isatty():
        print(f"mltrain: there are more; the next: --before {following}", file=sys.stderr)
    return 0


def _as_table(runs: Sequence[RunRecord]) -> str:
    now = datetime.now(timezone.utc)
    rows = [
        (
            run.run_id,
            run.status,
            run.target,
            render_time(run.created_at),
            render_time_taken(run, now),
            describe_tags(run.tags),
        )
        for run in runs
    ]
    return render_table(_HEADINGS, rows)
