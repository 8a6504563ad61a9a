"""What the commands for runs take."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Final

from airflow_mltrain.cli.option import add_json
from airflow_mltrain.runs.status import RunStatus

_PAGE: Final = 20


def define_list(parser: ArgumentParser) -> None:
    """Take which runs are meant, and how many of them."""
    parser.add_argument("--experiment", metavar="NAME", help="only runs of this experiment")
    parser.add_argument(
        "--status",
        metavar="STATUS",
        type=_read_status,
        action="append",
        default=[],
        help=f"only runs that are {', '.join(RunStatus)}; may be repeated",
    )
    parser.add_argument(
        "--tag",
        metavar="NAME[=VALUE]",
        type=_read_wanted_tag,
        action="append",
        default=[],
        help="only runs with this tag; may be repeated, and then all of them count",
    )
    parser.add_argument(
        "--limit",
        "-n",
        metavar="N",
        type=_read_count,
        default=_PAGE,
        help=f"at most so many (default: {_PAGE})",
    )
    parser.add_argument(
        "--before", metavar="RUN_ID", help="the page after this run, the last of the one before"
    )
    add_json(parser)


def define_show(parser: ArgumentParser) -> None:
    """Take which run is meant."""
    _add_run(parser)
    add_json(parser)


def _add_run(parser: ArgumentParser) -> None:
    parser.add_argument("run_id", metavar="RUN_ID", help="the run")


def _read_status(text: str) -> RunStatus:
    for status in RunStatus:
        if status.lower() == text.lower():
            return status
    raise ArgumentTypeError(f"{text!r} is no status; there are: {', '.join(RunStatus)}")


def _read_wanted_tag(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    return name, value if equals else None


def _read_count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)
