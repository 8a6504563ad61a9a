"""`mltrain env list` and `mltrain env show`: the environments there are."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from airflow_mltrain.cli.built_environment import render_built
from airflow_mltrain.cli.description import describe, summarize
from airflow_mltrain.cli.table import render_table
from airflow_mltrain.config.environment import Environment
from airflow_mltrain.environments.plan import plan_environment
from airflow_mltrain.errors import ConfigurationError
from airflow_mltrain.workspace import Workspace


def list_environments(arguments: Namespace) -> int:
    """Print the registered and curated environments, or with a target those built on it."""
    workspace = Workspace.from_config()
    if arguments.target is None:
        print(_render_registered(workspace))
        return 0
    built = workspace.get_target(arguments.target).list_environments()
    print(render_built(built) if built else f"no environment is built on {arguments.target}")
    return 0


def show_environment(arguments: Namespace) -> int:
    """Print what an environment asks for, and what it was resolved to."""
    workspace = Workspace.from_config()
    environment = workspace.get_environment(arguments.environment)
    labels = _labels(workspace, environment)
    locks = _find_locks(workspace, environment)
    if not arguments.json:
        print(describe(environment, labels, locks))
        return 0
    content = environment.model_dump(mode="json")
    content["environment_variables"] = dict.fromkeys(environment.environment_variables, "****")
    print(json.dumps({"environment": content, "labels": labels, "resolved": locks}, indent=2))
    return 0


def _render_registered(workspace: Workspace) -> str:
    rows = []
    for name, environment in workspace.list_environments().items():
        versions = workspace.history.environments.list_versions(name)
        newest = environment.version or "-"
        labels = [f"{label}:{number}" for number, own in versions.items() for label in own]
        span = f"1-{newest}" if len(versions) > 1 else newest
        rows.append((name, span, ", ".join(labels) or "-", summarize(environment)))
    return render_table(("NAME", "VERSIONS", "LABELS", "ASKS FOR"), rows)


def _labels(workspace: Workspace, environment: Environment) -> list[str]:
    versions = workspace.history.environments.list_versions(environment.name)
    return versions.get(int(environment.version or 0), [])


def _find_locks(workspace: Workspace, environment: Environment) -> Mapping[str, Any]:
    try:
        plan = plan_environment(environment, default_interpreter=sys.executable)
    except ConfigurationError:
        return {}  # what no target builds is shown all the same
    return {} if plan.recipe is None else workspace.history.find_locks(plan.recipe_id)
