"""The same commands below Airflow's own program: `airflow mltrain ...`."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

from airflow_mltrain.cli.catalogue import COMMANDS, GROUPS
from airflow_mltrain.cli.command import Command
from airflow_mltrain.cli.program import DESCRIPTION, PROGRAM, main, split


def get_commands() -> list[GroupCommand]:
    """What Airflow adds to its commands."""
    commands = [_action(command) for command in COMMANDS if not command.group]
    groups = [
        GroupCommand(name, summary, [_action(one) for one in COMMANDS if one.group == name])
        for name, summary in GROUPS.items()
    ]
    return [GroupCommand(PROGRAM, DESCRIPTION, [*commands, *groups])]


class _AllOptions(Arg):
    """All that a command takes."""

    def __init__(self, command: Command) -> None:
        super().__init__(flags=(command.words,))  # type: ignore[no-untyped-call]  # Airflow's
        self._command = command

    def add_to_parser(self, parser: ArgumentParser) -> None:
        self._command.define(parser)
        parse = parser.parse_known_args

        def parse_ours(words: Any = None, namespace: Any = None) -> Any:
            return parse(split(["run", *words])[0][1:], namespace)

        if self._command.words == "run":  # what stands behind -- is not Airflow's to understand
            parser.parse_known_args = parse_ours  # type: ignore[assignment, method-assign]


def _action(command: Command) -> ActionCommand:
    return ActionCommand(command.word, command.summary, _carry_out, (_AllOptions(command),))


def _carry_out(_: Namespace) -> None:
    """Read the command line once more, as `mltrain` does: verbatim behind a `--`."""
    sys.exit(main(sys.argv[sys.argv.index(PROGRAM) + 1 :]))
