"""Every command there is, what it takes, and where it is carried out."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Final

from airflow_mltrain.cli.command import Command
from airflow_mltrain.cli.option import (
    add_environment,
    add_json,
    add_target,
    read_days,
    read_gigabytes,
    read_seconds,
)
from airflow_mltrain.cli.run_options import (
    define_cancel,
    define_diff,
    define_download,
    define_list,
    define_logs,
    define_run,
    define_show,
)


def _define_environment_list(parser: ArgumentParser) -> None:
    parser.add_argument("--target", metavar="NAME", help="list what is built on this target")


def _define_environment_show(parser: ArgumentParser) -> None:
    add_environment(parser)
    add_json(parser)


def _define_build(parser: ArgumentParser) -> None:
    add_environment(parser)
    add_target(parser)
    parser.add_argument(
        "--prepare-timeout",
        metavar="SECONDS",
        type=read_seconds,
        help="how long building may take (default: an hour)",
    )


def _define_environment_collection(parser: ArgumentParser) -> None:
    add_target(parser)
    parser.add_argument(
        "--max-gigabytes",
        metavar="N",
        type=read_gigabytes,
        help="how much may stay; 0 removes all that no run is using "
        "(default: the setting environments_max_gigabytes)",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")


def _define_collection(parser: ArgumentParser) -> None:
    _define_environment_collection(parser)
    parser.add_argument(
        "--jobs-older-than",
        metavar="DAYS",
        type=read_days,
        default=30.0,
        help="remove from the target what runs left there that ended earlier (default: 30); "
        "their log and outputs are in the artifact store",
    )
    parser.add_argument(
        "--artifacts-older-than",
        metavar="DAYS",
        type=read_days,
        help="remove from the artifact store log and outputs of runs that ended earlier "
        "(default: keep them)",
    )


def _define_reconciliation(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--target",
        metavar="NAME",
        action="append",
        help="also list the unknown jobs of this target; may be repeated",
    )
    for name, does in (("cancel", "stop"), ("discard", "remove every trace of")):
        parser.add_argument(
            f"--{name}",
            metavar="RUN_ID",
            action="append",
            default=[],
            help=f"{does} this job of the target, which the run history does not know",
        )
    add_json(parser)


def _define_check(parser: ArgumentParser) -> None:
    parser.add_argument(
        "target", metavar="NAME", help="the compute target: an Airflow connection id, or local"
    )
    add_json(parser)


GROUPS: Final = {
    "env": "environments: what software a script needs",
    "targets": "compute targets: the places that execute runs",
}

COMMANDS: Final = (
    Command(
        "run",
        "run a script on a target, show its log, and end as it ends",
        define_run,
        "airflow_mltrain.cli.run_submit:run_script",
        is_quick=True,
    ),
    Command(
        "list",
        "list the runs that were submitted, newest first",
        define_list,
        "airflow_mltrain.cli.run_list:list_runs",
        is_quick=True,
    ),
    Command(
        "show",
        "show what is known of a run: what it ran, how it went, its metrics and its children",
        define_show,
        "airflow_mltrain.cli.run_show:show_run",
        is_quick=True,
    ),
    Command(
        "logs",
        "print the log of a run, and follow it",
        define_logs,
        "airflow_mltrain.cli.run_log:show_log",
        is_quick=True,
    ),
    Command(
        "cancel",
        "end runs, with every process that they started",
        define_cancel,
        "airflow_mltrain.cli.run_cancel:cancel_runs",
        is_quick=True,
    ),
    Command(
        "diff",
        "tell in what two runs differ: command, settings, packages, metrics, source",
        define_diff,
        "airflow_mltrain.cli.run_diff:diff_runs",
        is_quick=True,
    ),
    Command(
        "download",
        "copy what a run left behind",
        define_download,
        "airflow_mltrain.cli.run_download:download",
        is_quick=True,
    ),
    Command(
        "env list",
        "list the registered and curated environments, or those built on a target",
        _define_environment_list,
        "airflow_mltrain.cli.environment:list_environments",
    ),
    Command(
        "env show",
        "show what an environment asks for, and the versions it was resolved to",
        _define_environment_show,
        "airflow_mltrain.cli.environment:show_environment",
    ),
    Command(
        "env build",
        "build an environment on a target before a run needs it",
        _define_build,
        "airflow_mltrain.cli.build:build_environment",
    ),
    Command(
        "env gc",
        "remove the environments of a target that were not used for longest",
        _define_environment_collection,
        "airflow_mltrain.cli.collection:collect_environments",
    ),
    Command(
        "gc",
        "make room on a target and in the artifact store",
        _define_collection,
        "airflow_mltrain.cli.collection:collect",
    ),
    Command(
        "reconcile",
        "bring unfinished runs to what their targets say, and list jobs that nobody knows",
        _define_reconciliation,
        "airflow_mltrain.cli.reconciliation:reconcile",
    ),
    Command(
        "targets check",
        "check whether a target can execute runs, and say what to mend",
        _define_check,
        "airflow_mltrain.cli.targets:check_target",
    ),
    Command(
        "targets list",
        "list the compute targets that can be named",
        add_json,
        "airflow_mltrain.cli.targets:list_targets",
    ),
)
