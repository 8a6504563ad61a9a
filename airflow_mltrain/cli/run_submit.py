"""`mltrain run`: run a script from the command line, and see it to its end."""

from __future__ import annotations

import re
import sys
import time
import warnings
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Final

from airflow_mltrain import submission
from airflow_mltrain.cli.interrupt import interrupts_held
from airflow_mltrain.cli.quick_workspace import open_workspace, target_session
from airflow_mltrain.cli.screen import Screen, describe_end
from airflow_mltrain.cli.terminal_text import printable_lines
from airflow_mltrain.cli.watch import cancel_and_watch, watch
from airflow_mltrain.config.script_run import ScriptRunConfig
from airflow_mltrain.errors import ConfigurationError
from airflow_mltrain.preemption import find_last
from airflow_mltrain.preparation import Onlooker
from airflow_mltrain.runs.record import RunRecord
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.workspace import Workspace

_FAILED, _INTERRUPTED = 1, 130
_SECOND_THOUGHT_SECONDS: Final = 3.0
_LOOK_SECONDS: Final = 0.05
_LONGEST_NAME: Final = 128


def run_script(arguments: Namespace) -> int:
    """Submit a script and show it until it has ended; its exit code is that of the run."""
    config = _make_config(arguments)
    experiment = arguments.experiment or _name_after(config.source_directory)
    workspace, screen = open_workspace(), Screen()
    with target_session(config.run_config.target, needs_secrets=arguments.config is not None):
        run, is_interrupted = _submit(workspace, experiment, config, screen)
        try:
            if is_interrupted:
                return _leave(workspace, run.run_id, screen)
            if arguments.detach:
                print(run.run_id)
                return 0
            return _see_to_its_end(workspace, run, screen)
        except KeyboardInterrupt:
            return _leave(workspace, run.run_id, screen)
        except BrokenPipeError:
            screen.say(f"nobody reads its log; run {run.run_id} goes on")
            raise


def exit_code_of(run: RunRecord) -> int:
    """What a program says at its end that was the run."""
    if run.status is RunStatus.CANCELED:
        return _INTERRUPTED
    return 0 if run.status is RunStatus.COMPLETED else run.exit_code or _FAILED


class _Submitter(Onlooker):
    """Shows what is said before the job begins."""

    def __init__(self, screen: Screen, is_interrupted: Callable[[], bool]) -> None:
        self._screen = screen
        self._is_interrupted = is_interrupted

    def show(self, words: bytes) -> None:
        self._screen.show_log(words)

    def is_interrupted(self) -> bool:
        return self._is_interrupted()

    def note_shown(self, run_id: str, count: int) -> None:
        del run_id
        self._screen.log_position = count


def _submit(
    workspace: Workspace, experiment: str, config: ScriptRunConfig, screen: Screen
) -> tuple[RunRecord, bool]:
    """The run, and whether there was an interrupt, which gives up its preparation and no more."""
    run = None
    try:
        with interrupts_held() as is_interrupted:
            onlooker = _Submitter(screen, is_interrupted)
            run = submission.submit(workspace, experiment, config, onlooker=onlooker)
    except KeyboardInterrupt:
        if run is None:  # the second one did not wait
            screen.say("interrupted while submitting; `mltrain list` tells whether there is a run")
            raise
        return run, True
    return run, False


def _see_to_its_end(workspace: Workspace, run: RunRecord, screen: Screen) -> int:
    screen.say(f"run {run.run_id} on {run.target}")
    run = watch(workspace, run.run_id, screen, goes_on=True)
    screen.say(describe_end(run))
    return exit_code_of(run)


def _leave(workspace: Workspace, run_id: str, screen: Screen) -> int:
    """Let go of a run that goes on, or cancel it where an interrupt comes once more."""
    run_id = find_last(workspace, workspace.history.get(run_id)).run_id
    try:
        with interrupts_held() as is_interrupted_again:
            goes_on = workspace.history.get(run_id).is_started
            if goes_on:
                seconds = f"{_SECOND_THOUGHT_SECONDS:.0f} seconds"
                screen.say(f"run {run_id} goes on; Ctrl-C again within {seconds} cancels it")
                _wait(is_interrupted_again)
    except KeyboardInterrupt:
        goes_on = False
    if not goes_on:
        return _cancel(workspace, run_id, screen)
    screen.say(f"`mltrain logs -f {run_id}` shows it again, `mltrain cancel {run_id}` ends it")
    return _INTERRUPTED


def _wait(is_over: Callable[[], bool]) -> None:
    until = time.monotonic() + _SECOND_THOUGHT_SECONDS
    while not is_over() and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)


def _cancel(workspace: Workspace, run_id: str, screen: Screen) -> int:
    screen.say(f"canceling run {run_id}")
    try:
        run = cancel_and_watch(workspace, run_id, screen)
    except KeyboardInterrupt:
        screen.say(f"run {run_id} was asked to end, and is left to do so")
        return _INTERRUPTED
    screen.say(describe_end(run))
    return exit_code_of(run)


def _make_config(arguments: Namespace) -> ScriptRunConfig:
    """What is in the config file, if one is named, with what is given beside it."""
    directory = arguments.source_directory and Path(arguments.source_directory).absolute()
    if arguments.config is None:
        if arguments.script is None:
            raise ConfigurationError("give a SCRIPT, or a file that names one with --config")
        config = ScriptRunConfig(directory or Path.cwd(), arguments.script, arguments.arguments)
    else:
        config = _load(Path(arguments.config), directory)
        if arguments.script is not None:
            config.script, config.command = arguments.script, None
        if arguments.arguments:
            config.arguments = arguments.arguments
    config.tags = {**config.tags, **dict(arguments.tag)}
    given = {
        "target": arguments.target,
        "environment": arguments.environment,
        "max_run_duration_seconds": arguments.max_run_duration,
    }
    for name, value in given.items():
        if value is not None:
            setattr(config.run_config, name, value)
    if arguments.gpus is not None:
        config.run_config.resources.gpus = arguments.gpus
    return config


def _load(path: Path, directory: Path | None) -> ScriptRunConfig:
    with warnings.catch_warnings(record=True) as lacks:
        warnings.simplefilter("always")
        config = ScriptRunConfig.load(path, directory)
    for lack in lacks:
        print(f"mltrain: {printable_lines(str(lack.message))}", file=sys.stderr)
    return config


def _name_after(source_directory: str) -> str:
    """An experiment's name that tells of the directory."""
    words = re.findall(r"[A-Za-z0-9][A-Za-z0-9_-]*", Path(source_directory).name)
    return "-".join(words)[:_LONGEST_NAME] or "runs"
