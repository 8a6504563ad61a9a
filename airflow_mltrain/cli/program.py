"""The command line: which commands there are, what they take, and how they end."""

from __future__ import annotations

import errno
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import Final

import airflow_mltrain
from airflow_mltrain.cli.catalogue import COMMANDS, GROUPS
from airflow_mltrain.cli.terminal_text import printable_lines
from airflow_mltrain.errors import MLTrainError

PROGRAM: Final = "mltrain"
DESCRIPTION: Final = "Training runs and what they need."
_FAILED, _INTERRUPTED = 1, 130  # usage errors are argparse's: 2
_UNWRITABLE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command and return its exit code; raises SystemExit for a usage error."""
    try:
        return _obey(sys.argv[1:] if argv is None else argv)
    except BrokenPipeError:
        _write_no_more()
        return _FAILED
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        _write_no_more()
        print(f"{PROGRAM}: could not write: {error.strerror}", file=sys.stderr)
        return _FAILED
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted", file=sys.stderr)
        return _INTERRUPTED


def _obey(argv: Sequence[str]) -> int:
    words, behind = split(argv)
    arguments = _make_parser().parse_args(words)
    if behind:
        arguments.arguments += behind
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name may have any letter
    try:
        exit_code = _carry_out(arguments)
    except MLTrainError as error:
        sys.stdout.flush()
        print(f"{PROGRAM}: {printable_lines(str(error))}", file=sys.stderr)
        return _FAILED
    sys.stdout.flush()
    return exit_code


def _write_no_more() -> None:
    # Python flushes once more when it ends, and nobody reads that either.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def split(argv: Sequence[str]) -> tuple[Sequence[str], list[str]]:
    """What is for us, and what stands behind `run ... --`: argparse would take some of it."""
    if "--" not in argv or argv[0] != "run":
        return argv, []
    place = argv.index("--")
    return argv[:place], list(argv[place + 1 :])


def _carry_out(arguments: Namespace) -> int:
    module, _, function = arguments.home.partition(":")
    if arguments.is_quick:
        return int(getattr(import_module(module), function)(arguments))
    from airflow_mltrain.cli.airflow_session import airflow_session  # noqa: PLC0415

    with airflow_session():
        return int(getattr(import_module(module), function)(arguments))


def _make_parser() -> ArgumentParser:
    parser = ArgumentParser(PROGRAM, description=DESCRIPTION)
    version = f"{PROGRAM} {airflow_mltrain.__version__}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    groups = {
        name: commands.add_parser(name, help=summary, description=summary).add_subparsers(
            metavar="COMMAND", required=True
        )
        for name, summary in GROUPS.items()
    }
    for command in COMMANDS:
        room = groups[command.group] if command.group else commands
        own = room.add_parser(command.word, help=command.summary, description=command.summary)
        command.define(own)
        own.set_defaults(home=command.home, is_quick=command.is_quick)
    return parser
