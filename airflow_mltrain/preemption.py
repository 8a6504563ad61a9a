"""How a run that was preempted goes on in another one."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Final

from airflow_mltrain.previous_outputs import PREVIOUS_OUTPUTS_PROPERTY, find_source
from airflow_mltrain.progress import PLACE_PROPERTY
from airflow_mltrain.runs.exit_action import CANCEL_PROPERTY, can_be_preempted, successor_id
from airflow_mltrain.runs.record import RunRecord
from airflow_mltrain.workspace import Workspace

PREEMPTED_PROPERTY: Final = "mltrain.preempted_run"
_OF_THE_CODE: Final = ("azureml.git.", "mlflow.source.git.", "mltrain.git_")


def record_successor(workspace: Workspace, run: RunRecord) -> RunRecord:
    """The run that goes on from a preempted one; recorded, unless there is one, and not started.

    It has the same code and config. However many ask, and wherever one of them is killed, there
    is one: its id follows from that of the run, and of a submission it is the next generation.
    """
    if run.submission is not None:
        latest = workspace.history.find_latest(run.submission)
        if latest is not None and latest.generation > run.generation:
            return latest
    properties = {
        name: value
        for name, value in run.properties.items()
        if name == PLACE_PROPERTY or name.startswith(_OF_THE_CODE)
    }
    properties[PREEMPTED_PROPERTY] = run.run_id
    if (earlier := find_source(workspace, run)) is not None:
        properties[PREVIOUS_OUTPUTS_PROPERTY] = earlier
    with workspace.artifacts.used():
        return workspace.history.add(
            RunRecord(
                run_id=successor_id(run),
                experiment=run.experiment,
                target=run.target,
                snapshot_id=run.snapshot_id,
                config=run.config,
                created_at=datetime.now(timezone.utc),
                submission=run.submission,
                generation=run.generation + 1,
                occasion=run.occasion,
                tags=run.config.get("tags") or {},
                properties=properties,
            )
        )


def find_successor(workspace: Workspace, run: RunRecord) -> RunRecord | None:
    """The run that goes on from this one, if there is any yet."""
    run_id = successor_id(run)
    return workspace.history.find_many([run_id]).get(run_id)


def find_last(workspace: Workspace, run: RunRecord) -> RunRecord:
    """The run in which a run that may have been preempted goes on, if it does; or it itself."""
    successor: RunRecord | None = run
    while can_be_preempted(run) and successor is not None:
        run, successor = successor, find_successor(workspace, successor)
    return run


def note_cancel(workspace: Workspace, run: RunRecord) -> None:
    """Keep a run whose end is asked for from going on in another one, however it ends."""
    if can_be_preempted(run):
        workspace.history.annotate(run.run_id, properties={CANCEL_PROPERTY: "yes"})
