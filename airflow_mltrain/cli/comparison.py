"""What two runs have in common, and in what they differ."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, Final

from packaging.utils import canonicalize_name

from airflow_mltrain.cli.run_facts import command_of
from airflow_mltrain.errors import MLTrainError
from airflow_mltrain.runs.series import collect_series
from airflow_mltrain.snapshots.manifest import Entry, Manifest

if TYPE_CHECKING:
    from airflow_mltrain.runs.record import RunRecord
    from airflow_mltrain.workspace import Workspace

_PACKAGE: Final = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(.*)")
_COMPARED_ELSEWHERE: Final = ("script", "command", "arguments", "tags")
_HIDDEN: Final = "****"
_VARIABLES: Final = (
    "run_config.environment_variables.",
    "run_config.environment.environment_variables.",
)


@dataclass(frozen=True)
class Change:
    """Something that has a value in one run and another, or none, in the other."""

    name: str
    a: Any
    b: Any


@dataclass(frozen=True)
class SourceChanges:
    """Files by their paths in the source directory."""

    added: Sequence[str]
    removed: Sequence[str]
    changed: Sequence[str]


@dataclass(frozen=True)
class Comparison:
    """In what the run `b` differs from the run `a`; metrics are all that either has."""

    a: RunRecord
    b: RunRecord
    command: Sequence[tuple[str, Sequence[str]]]  # "-" or "+", and words that go together
    settings: Sequence[Change]
    packages: Sequence[Change]
    metrics: Sequence[Change]  # the last values
    source: SourceChanges | None  # None where a snapshot is not kept any more


def compare(workspace: Workspace, a: RunRecord, b: RunRecord) -> Comparison:
    """Compare what was run, where, with which packages, and what came of it."""
    return Comparison(
        a=a,
        b=b,
        command=list(_compare_sequences(_phrases(a), _phrases(b))),
        settings=[_hide(one) for one in _compare_mappings(_settings(a), _settings(b))],
        packages=_compare_mappings(_packages(workspace, a), _packages(workspace, b)),
        metrics=_compare_metrics(_last_values(workspace, a), _last_values(workspace, b)),
        source=compare_sources(read_manifest(workspace, a), read_manifest(workspace, b)),
    )


def read_manifest(workspace: Workspace, run: RunRecord) -> dict[str, Entry] | None:
    """The files of a run's source directory by path; None where they are not kept any more."""
    try:
        manifest = Manifest.decode(workspace.artifacts.blobs.read(run.snapshot_id))
    except MLTrainError:
        return None
    return {entry.path: entry for entry in manifest.entries if entry.kind != "directory"}


def compare_sources(
    a: Mapping[str, Entry] | None, b: Mapping[str, Entry] | None
) -> SourceChanges | None:
    """Which files are new, gone, or others; content, mode and a link's target count."""
    if a is None or b is None:
        return None
    return SourceChanges(
        added=sorted(b.keys() - a.keys()),
        removed=sorted(a.keys() - b.keys()),
        changed=sorted(path for path in a.keys() & b.keys() if a[path] != b[path]),
    )


def _phrases(run: RunRecord) -> list[tuple[str, ...]]:
    """The command line, a flag and its value together."""
    phrases: list[tuple[str, ...]] = []
    for word in command_of(run):
        is_value = bool(phrases) and len(phrases[-1]) == 1 and phrases[-1][0].startswith("--")
        if is_value and "=" not in phrases[-1][0] and not word.startswith("--"):
            phrases[-1] = (*phrases[-1], word)
        else:
            phrases.append((word,))
    return phrases


def _compare_sequences(
    a: Sequence[tuple[str, ...]], b: Sequence[tuple[str, ...]]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    for what, a_from, a_to, b_from, b_to in SequenceMatcher(
        a=a, b=b, autojunk=False
    ).get_opcodes():
        if what != "equal":
            yield from (("-", phrase) for phrase in a[a_from:a_to])
            yield from (("+", phrase) for phrase in b[b_from:b_to])


def _settings(run: RunRecord) -> dict[str, Any]:
    config = {name: value for name, value in run.config.items() if name not in _COMPARED_ELSEWHERE}
    found = dict(_flatten(config, ""))
    found.pop("run_config.environment.python.packages", None)
    return {**found, **{f"tags.{name}": value for name, value in run.tags.items()}}


def _flatten(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every setting by its dotted name; what is empty is as if it was not there."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _flatten(one, f"{name}.{key}" if name else str(key))
    elif value not in (None, "", [], False):
        yield name, value


def _hide(change: Change) -> Change:
    """The change without the values of environment variables."""
    if not change.name.startswith(_VARIABLES):
        return change
    return Change(change.name, *(None if one is None else _HIDDEN for one in (change.a, change.b)))


def _packages(workspace: Workspace, run: RunRecord) -> dict[str, str]:
    """The versions that were installed, or where that is not known what was asked for."""
    found: Mapping[str, Any] | None = None
    if run.environment_key is not None:
        found = workspace.history.find_resolved(run.environment_key)
    if found is None:
        environment = (run.config.get("run_config") or {}).get("environment")
        python = environment.get("python") if isinstance(environment, Mapping) else None
        return _by_name((python or {}).get("packages") or [])
    python = found.get("python")
    versions = {"python": str(python)} if python else {}
    return {**versions, **_by_name([*found.get("conda", []), *found.get("packages", [])])}


def _by_name(lines: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        requirement = str(line).partition(" --hash=")[0]
        if (parts := _PACKAGE.match(requirement)) is not None:
            found[canonicalize_name(parts[1])] = parts[2].removeprefix("==") or "any"
    return found


def _compare_mappings(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Change]:
    names = dict.fromkeys((*a, *b))
    return [Change(name, a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name)]


def _last_values(workspace: Workspace, run: RunRecord) -> dict[str, Any]:
    series = collect_series(workspace.history.get_metric_values(run.run_id))
    return {name: values[-1] for name, values in series.items() if values}


def _compare_metrics(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Change]:
    return [Change(name, a.get(name), b.get(name)) for name in dict.fromkeys((*a, *b))]
