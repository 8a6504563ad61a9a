"""The command line: which commands there are, what they take, and how they end."""

from __future__ import annotations

import math
import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Final

import airflow_mltrain
from airflow_mltrain.errors import MLTrainError

PROGRAM: Final = "mltrain"
_MOST_DAYS: Final = 100_000
_FAILED, _INTERRUPTED = 1, 130  # usage errors are argparse's: 2


@dataclass(frozen=True)
class Command:
    """One command; what carries it out is imported when it is asked for."""

    words: str
    summary: str
    define: Callable[[ArgumentParser], None]
    home: str  # module:function; the function takes the arguments and returns the exit code


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command and return its exit code; raises SystemExit for a usage error."""
    arguments = _make_parser().parse_args(argv)
    try:
        exit_code = _carry_out(arguments)
        sys.stdout.flush()
    except MLTrainError as error:
        sys.stdout.flush()
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return _FAILED
    except BrokenPipeError:
        # Python flushes once more when it ends, and nobody reads that either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted", file=sys.stderr)
        return _INTERRUPTED
    return exit_code


def _carry_out(arguments: Namespace) -> int:
    from airflow_mltrain.cli.airflow_session import airflow_session  # noqa: PLC0415

    module, _, function = arguments.home.partition(":")
    with airflow_session():
        return int(getattr(import_module(module), function)(arguments))


def _make_parser() -> ArgumentParser:
    parser = ArgumentParser(PROGRAM, description="Training runs and what they need.")
    version = f"{PROGRAM} {airflow_mltrain.__version__}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    groups = {
        name: commands.add_parser(name, help=summary, description=summary).add_subparsers(
            metavar="COMMAND", required=True
        )
        for name, summary in _GROUPS.items()
    }
    for command in COMMANDS:
        group, _, word = command.words.rpartition(" ")
        room = groups[group] if group else commands
        own = room.add_parser(word, help=command.summary, description=command.summary)
        command.define(own)
        own.set_defaults(home=command.home)
    return parser


def _define_list(parser: ArgumentParser) -> None:
    parser.add_argument("--target", metavar="NAME", help="list what is built on this target")


def _define_show(parser: ArgumentParser) -> None:
    _add_environment(parser)
    _add_json(parser)


def _define_build(parser: ArgumentParser) -> None:
    _add_environment(parser)
    _add_target(parser)
    parser.add_argument(
        "--prepare-timeout",
        metavar="SECONDS",
        type=_read_seconds,
        help="how long building may take (default: an hour)",
    )


def _define_environment_collection(parser: ArgumentParser) -> None:
    _add_target(parser)
    parser.add_argument(
        "--max-gigabytes",
        metavar="N",
        type=_read_gigabytes,
        help="how much may stay; 0 removes all that no run is using "
        "(default: the setting environments_max_gigabytes)",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")


def _define_collection(parser: ArgumentParser) -> None:
    _define_environment_collection(parser)
    parser.add_argument(
        "--jobs-older-than",
        metavar="DAYS",
        type=_read_days,
        default=30.0,
        help="remove from the target what runs left there that ended earlier (default: 30); "
        "their log and outputs are in the artifact store",
    )
    parser.add_argument(
        "--artifacts-older-than",
        metavar="DAYS",
        type=_read_days,
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
    _add_json(parser)


def _define_check(parser: ArgumentParser) -> None:
    parser.add_argument(
        "target", metavar="NAME", help="the compute target: an Airflow connection id, or local"
    )
    _add_json(parser)


def _add_json(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def _add_environment(parser: ArgumentParser) -> None:
    parser.add_argument("environment", metavar="NAME[:VERSION|@LABEL]", help="the environment")


def _add_target(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--target",
        metavar="NAME",
        default="local",
        help="the compute target: an Airflow connection id, or local (the default)",
    )


def _read_seconds(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise ArgumentTypeError(f"{text!r} is not a whole number of seconds from 1")
    return int(text)


def _read_days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = math.nan
    if not 0 <= days < _MOST_DAYS:
        raise ArgumentTypeError(f"{text!r} is not a number of days from 0")
    return days


def _read_gigabytes(text: str) -> float:
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = math.nan
    if not 0 <= gigabytes < math.inf:
        raise ArgumentTypeError(f"{text!r} is not a number from 0")
    return gigabytes


_GROUPS: Final = {
    "env": "environments: what software a script needs",
    "targets": "compute targets: the places that execute runs",
}

COMMANDS: Final = (
    Command(
        "env list",
        "list the registered and curated environments, or those built on a target",
        _define_list,
        "airflow_mltrain.cli.environment:list_environments",
    ),
    Command(
        "env show",
        "show what an environment asks for, and the versions it was resolved to",
        _define_show,
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
        _add_json,
        "airflow_mltrain.cli.targets:list_targets",
    ),
)
