"""`mltrain targets check` and `mltrain targets list`: the compute targets there are."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from airflow_mltrain.cli.airflow_connection import list_in_database, list_in_variables
from airflow_mltrain.cli.table import render_table
from airflow_mltrain.errors import TargetUnreachableError
from airflow_mltrain.targets.base import ComputeTarget
from airflow_mltrain.targets.check import Finding, FindingLevel, has_fault, unreachable
from airflow_mltrain.targets.registry import CONNECTION_TYPE, DOCKER, LOCAL, SPARK, SSH
from airflow_mltrain.workspace import Workspace

_TYPES: Final = (SSH, DOCKER, SPARK, CONNECTION_TYPE)
_LATEST_RUNS: Final = 1000


def check_target(arguments: Namespace) -> int:
    """Print what was found out about a target; 1 if it cannot execute runs."""
    target = Workspace.from_config().get_target(arguments.target)
    findings = _look_at(target)
    is_faulty = has_fault(findings)
    if arguments.json:
        content = {
            "target": target.name,
            "is_ready": not is_faulty,
            "findings": [asdict(one) for one in findings],
        }
        print(json.dumps(content, indent=2))
    else:
        print(_render(findings))
        print(f"{target.name}: {_verdict(findings)}")
    return 1 if is_faulty else 0


def list_targets(arguments: Namespace) -> int:
    """Print the targets that can be named, with where each is described."""
    found = {LOCAL: ("local", "this machine")}
    in_database = list_in_database()
    places = (
        ("environment variable", list_in_variables()),
        ("Airflow's database", in_database or {}),
    )
    for place, connections in places:
        for name, kind in connections.items():
            if kind in _TYPES:
                found.setdefault(name, (kind, place))
    for record in Workspace.from_config().history.list_runs(limit=_LATEST_RUNS):
        found.setdefault(record.target, ("-", "run history"))
    if arguments.json:
        rows = [{"name": name, "type": kind, "from": at} for name, (kind, at) in found.items()]
        print(json.dumps({"targets": rows}, indent=2))
    else:
        print(
            render_table(("NAME", "TYPE", "FROM"), [(name, *one) for name, one in found.items()])
        )
    if in_database is None:
        print(
            "mltrain: connections in Airflow's database are left out: none answers",
            file=sys.stderr,
        )
    return 0


def _look_at(target: ComputeTarget) -> Sequence[Finding]:
    try:
        return target.check()
    except TargetUnreachableError as error:
        return (unreachable(error),)


def _render(findings: Sequence[Finding]) -> str:
    rows = [(one.subject, _mark(one.level), one.text) for one in findings]
    headings, *lines = render_table(("LOOKED AT", "LEVEL", "FOUND"), rows).split("\n")
    indent = headings.index("FOUND") * " "
    shown = [headings]
    for finding, line in zip(findings, lines, strict=True):
        shown.append(line)
        if finding.remedy is not None:
            shown.append(f"{indent}-> {finding.remedy}")
    return "\n".join(shown)


def _mark(level: FindingLevel) -> str:
    return "FAULT" if level is FindingLevel.FAULT else str(level)


def _verdict(findings: Sequence[Finding]) -> str:
    levels = [one.level for one in findings]
    faults, warnings = levels.count(FindingLevel.FAULT), levels.count(FindingLevel.WARNING)
    told = [
        f"{number} {name}" + ("" if number == 1 else "s")
        for number, name in ((faults, "fault"), (warnings, "warning"))
        if number
    ]
    verdict = "not ready" if faults else "ready"
    return f"{verdict} ({', '.join(told)})" if told else verdict
