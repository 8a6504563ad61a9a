"""What the commands for runs take."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Final

from airflow_mltrain.cli.option import add_json, read_seconds
from airflow_mltrain.runs.status import RunStatus

_PAGE: Final = 20
_MOST: Final = 1_000_000


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


def define_run(parser: ArgumentParser) -> None:
    """Take what is to be run, and where."""
    parser.add_argument(
        "script", metavar="SCRIPT", nargs="?", help="the script, in the source directory"
    )
    parser.add_argument(
        "arguments",
        metavar="-- ARGUMENT",
        nargs="*",
        help="all that stands behind -- goes to the script as it is",
    )
    parser.add_argument(
        "--config",
        "-c",
        metavar="FILE",
        help="a .runconfig, or a command job in YAML; what is given beside it counts instead",
    )
    parser.add_argument(
        "--source-directory",
        "-s",
        metavar="DIRECTORY",
        help="what the script needs of files (default: the current directory, or the config's)",
    )
    parser.add_argument(
        "--target",
        metavar="NAME",
        help="the compute target: an Airflow connection id, or local (the default)",
    )
    parser.add_argument(
        "--experiment",
        "-e",
        metavar="NAME",
        help="the group of runs (default: the name of the source directory)",
    )
    parser.add_argument(
        "--environment",
        metavar="NAME[:VERSION|@LABEL]",
        help="the environment (default: the target's own Python)",
    )
    parser.add_argument(
        "--tag",
        metavar="NAME[=VALUE]",
        type=_read_tag,
        action="append",
        default=[],
        help="a tag of the run; may be repeated",
    )
    parser.add_argument(
        "--gpus", metavar="N", type=_read_count, help="how many GPUs it is to have"
    )
    parser.add_argument(
        "--max-run-duration",
        metavar="SECONDS",
        type=read_seconds,
        help="how long the script may take (default: 30 days)",
    )
    parser.add_argument(
        "--detach",
        "-d",
        action="store_true",
        help="print the run id as soon as the run has begun, and let it go on",
    )


def define_logs(parser: ArgumentParser) -> None:
    """Take whose log is meant, and how much of it."""
    _add_run(parser)
    parser.add_argument(
        "--follow", "-f", action="store_true", help="go on until the run has ended"
    )
    parser.add_argument(
        "--tail", metavar="N", type=_read_count, help="begin with the last N lines"
    )


def define_cancel(parser: ArgumentParser) -> None:
    """Take which runs are meant."""
    parser.add_argument("run_ids", metavar="RUN_ID", nargs="+", help="the runs")
    parser.add_argument(
        "--no-wait", action="store_true", help="ask for their end, and do not wait for it"
    )


def define_diff(parser: ArgumentParser) -> None:
    """Take which two runs are meant."""
    parser.add_argument("a", metavar="A", help="the run that is compared with")
    parser.add_argument("b", metavar="B", help="the run that is compared")
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--patch", "-p", action="store_true", help="also show how the files differ that are text"
    )
    form.add_argument("--json", action="store_true", help="as JSON, for programs")


def define_download(parser: ArgumentParser) -> None:
    """Take what is to be had of which run, and where to."""
    _add_run(parser)
    parser.add_argument(
        "names", metavar="NAME", nargs="*", help="a file or a folder that it left (default: all)"
    )
    parser.add_argument(
        "--output",
        "-o",
        metavar="FOLDER",
        help="where to (default: a folder of the run's id, here)",
    )
    parser.add_argument(
        "--source", action="store_true", help="the source directory as it was submitted"
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


def _read_tag(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _read_count(text: str) -> int:
    digits = text.lstrip("0")
    if not digits.isdecimal() or len(digits) > len(str(_MOST)) or int(digits) > _MOST:
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1 to {_MOST}")
    return int(digits)
