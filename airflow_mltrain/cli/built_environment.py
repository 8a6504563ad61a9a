"""How the environments that lie on a target are shown."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_mltrain.cli.table import render_size, render_table, render_time
from airflow_mltrain.targets.base import BuiltEnvironment

_HEADINGS = ("KEY", "NAME", "PYTHON", "PACKAGES", "SIZE", "LAST USED (UTC)", "IN USE")


def render_built(built: Sequence[BuiltEnvironment]) -> str:
    """A table of environments, a line each."""
    return render_table(_HEADINGS, [_row(one) for one in built])


def total_size(built: Sequence[BuiltEnvironment]) -> str:
    """What they take together, for a person."""
    return render_size(sum(one.size_bytes for one in built))


def _row(one: BuiltEnvironment) -> tuple[str, ...]:
    return (
        one.key,
        one.name,
        one.python,
        str(one.package_count),
        render_size(one.size_bytes),
        render_time(one.last_used_at),
        "yes" if one.is_in_use else "no",
    )
