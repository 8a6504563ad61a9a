"""Which runs somebody asks for: by tags, properties, type and status, as Azure ML lets them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from airflow_mltrain.errors import ConfigurationError
from airflow_mltrain.runs.status import RunStatus

if TYPE_CHECKING:
    from airflow_mltrain.runs.record import RunRecord

Filter: TypeAlias = str | Mapping[str, str] | None
"""A name that has to be there, or names with the values that they have to have."""

_SUBMITTED: Final = "azureml.scriptrun"


def is_chosen(record: RunRecord, tags: Filter, properties: Filter, run_type: str | None) -> bool:
    """Whether the run has these tags and properties, and is of this type."""
    is_typed = run_type is None or type_of(record) == run_type
    return is_typed and has(record.tags, tags) and has(record.properties, properties)


def has(found: Mapping[str, str], asked: Filter) -> bool:
    """Whether a name is among tags or properties, or are all of these names with their values."""
    if asked is None or isinstance(asked, str):
        return asked is None or asked in found
    return all(found.get(name) == str(value) for name, value in asked.items())


def name_tags(asked: Filter) -> dict[str, str | None]:
    """The tags as the run history looks for them."""
    if asked is None or isinstance(asked, str):
        return {} if asked is None else {asked: None}
    return {name: str(value) for name, value in asked.items()}


def type_of(record: RunRecord) -> str | None:
    """What Azure ML calls a run that was submitted; None for one that a script began."""
    return _SUBMITTED if record.parent_run_id is None else None


def choose_statuses(status: str | None) -> list[RunStatus]:
    """The status as a choice of one, or none for all; raises ConfigurationError for no status."""
    if status is None:
        return []
    try:
        return [RunStatus(status)]
    except ValueError:
        raise ConfigurationError(
            f"status={status!r}: a run has one of {', '.join(RunStatus)}"
        ) from None


def tag_texts(tags: Mapping[str, str | float | None]) -> dict[str, str]:
    """Tags or properties as they are kept: numbers become text, and None is empty text."""
    return {str(name): "" if value is None else str(value) for name, value in tags.items()}
