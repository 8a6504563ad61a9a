"""The workspace for commands that answer before Airflow would be loaded."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from airflow_mltrain.cli.terminal_text import printable_lines
from airflow_mltrain.errors import ArtifactError, ConfigurationError, TargetError
from airflow_mltrain.plain_configuration import find_plain_configuration
from airflow_mltrain.settings import Settings, read_settings

if TYPE_CHECKING:
    from airflow_mltrain.runs.history import RunHistory
    from airflow_mltrain.runs.record import RunRecord
    from airflow_mltrain.workspace import Workspace


def open_workspace() -> Workspace:
    """The workspace of `[mltrain]`; Airflow is loaded only where its settings need it."""
    from airflow_mltrain.workspace import Workspace  # noqa: PLC0415 - for a history alone too dear

    workspace = Workspace(read_quickly())
    url = workspace.settings.artifacts_url
    if url is not None and url.conn_id is not None:
        from airflow_mltrain.cli.airflow_session import airflow_session  # noqa: PLC0415 - seldom

        with airflow_session():
            workspace.artifacts.connect()
    return workspace


def open_history() -> RunHistory:
    """The run history of that workspace."""
    from airflow_mltrain.runs.history import open_run_history  # noqa: PLC0415 - dear

    return open_run_history(read_quickly().database_url)


def read_quickly() -> Settings:
    """The settings; Airflow is asked only where it alone can tell."""
    configuration = find_plain_configuration()
    if configuration is not None:
        return read_settings(configuration)
    from airflow_mltrain.cli.airflow_session import airflow_session  # noqa: PLC0415 - seldom

    with airflow_session():
        return read_settings()


def target_session(target: str, *, needs_secrets: bool = False) -> AbstractContextManager[None]:
    """Airflow, for as long as a target is asked that only Airflow can find.

    `local` needs none, unless what runs there may refer to secrets that Airflow keeps.
    """
    from airflow_mltrain.cli.airflow_session import airflow_session  # noqa: PLC0415 - seldom
    from airflow_mltrain.targets.registry import LOCAL  # noqa: PLC0415 - dear

    return nullcontext() if target == LOCAL and not needs_secrets else airflow_session()


def look_at(workspace: Workspace, run_id: str) -> RunRecord:
    """The run as its target knows it now; as the history does where no target answers."""
    from airflow_mltrain import progress  # noqa: PLC0415 - dear

    record = workspace.history.get(run_id)
    if record.status.is_terminal:
        return record
    try:
        with target_session(record.target):
            return progress.refresh(workspace, run_id)
    except (TargetError, ArtifactError, ConfigurationError) as error:
        words = f"mltrain: {run_id} is shown as the run history last knew it: {error}"
        print(printable_lines(words), file=sys.stderr)
        return record
