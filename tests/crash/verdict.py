"""What a crash left: counted from the script's own diary, the run history and the artifacts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from airflow_mltrain import Workspace
from airflow_mltrain.runs.record import RunRecord
from airflow_mltrain.runs.status import RunStatus
from tests.crash.script import Story
from tests.services.artifacts import folder_store
from tests.services.jobs import pids_carrying, wait_for

_DUPLICATES, _LOST, _WRONG = "duplicates", "lost", "wrong"
_PREPARATION = b"[mltrain] "


@dataclass(frozen=True)
class Evidence:
    """All there is to judge by, once a task has ended."""

    story: Story
    runs: Sequence[RunRecord]  # by generation
    diary: Path
    workspace: Workspace
    task_end: str  # `done`, `failed` or `hung`
    task_value: object
    is_job_struck: bool  # then a generation may be told to have failed, and another follows


@dataclass
class Verdict:
    """How many things were doubled, lost and wrong, and which."""

    counts: Counter[str] = field(default_factory=Counter)
    words: list[str] = field(default_factory=list)

    def note(self, kind: str, words: str) -> None:
        """Count one."""
        self.counts[kind] += 1
        self.words.append(f"{kind}: {words}")


def judge(evidence: Evidence) -> Verdict:
    """Compare what is with what has to be."""
    verdict = Verdict()
    if not evidence.runs:
        verdict.note(_LOST, "there is no run")
        return verdict
    _judge_starts(evidence, verdict)
    _judge_generations(evidence, verdict)
    for run in evidence.runs:
        _judge_record(evidence, run, verdict)
    if evidence.runs[-1].status in (RunStatus.COMPLETED, RunStatus.FAILED):
        _judge_task(evidence, verdict)
    try:
        wait_for(lambda: not pids_carrying(*(run.run_id for run in evidence.runs)), 60)
    except AssertionError:
        verdict.note(_WRONG, "a process of the job outlives it")
    return verdict


def _notes(evidence: Evidence) -> dict[str, Counter[str]]:
    found = {word: Counter[str]() for word in ("start", "end", "overlap")}
    if evidence.diary.exists():
        for line in evidence.diary.read_text().splitlines():
            word, run_id, _ = line.split()
            found[word][run_id] += 1
    return found


def _judge_starts(evidence: Evidence, verdict: Verdict) -> None:
    notes = _notes(evidence)
    known = {run.run_id: run for run in evidence.runs}
    for run_id, count in notes["start"].items():
        if run_id not in known:
            verdict.note(_DUPLICATES, f"run {run_id} was started, and the history has no record")
        if count > 1:
            verdict.note(_DUPLICATES, f"run {run_id} was started {count} times")
    for run_id in notes["overlap"]:
        verdict.note(_DUPLICATES, f"run {run_id} began while another generation still ran")
    for run in evidence.runs:
        if run.status is RunStatus.COMPLETED and not notes["end"][run.run_id]:
            verdict.note(_WRONG, f"run {run.run_id} is Completed, and never came to its end")


def _judge_generations(evidence: Evidence, verdict: Verdict) -> None:
    generations = [run.generation for run in evidence.runs]
    if generations != list(range(1, len(generations) + 1)):
        verdict.note(_WRONG, f"the generations are {generations}")
    may_repeat = evidence.is_job_struck or evidence.story.exit_code
    fewest = 1 + evidence.story.preemptions
    if len(generations) > fewest and not may_repeat:
        verdict.note(_DUPLICATES, f"there are {len(generations)} generations, and no run failed")
    if len(generations) < fewest:
        verdict.note(_LOST, f"there are {len(generations)} generations of {fewest}")


def _judge_record(evidence: Evidence, run: RunRecord, verdict: Verdict) -> None:
    story = evidence.story
    exit_code = story.exit_code_of(run.generation)
    expected = RunStatus.FAILED if exit_code else RunStatus.COMPLETED
    if not run.status.is_terminal:
        verdict.note(_LOST, f"run {run.run_id} was left {run.status}")
        return
    if evidence.is_job_struck and run.status is RunStatus.FAILED:
        return  # that it was struck is its truth
    if run.status is not expected or run.exit_code != exit_code:
        verdict.note(_WRONG, f"run {run.run_id} is {run.status}, {run.exit_code}: {run.error}")
        return
    if run.ended_at is None or run.started_at is None:
        verdict.note(_LOST, f"run {run.run_id} has no beginning or no end")
    folder = folder_store(evidence.workspace).run_folder(run.run_id)
    _judge_log(evidence, folder / "log", verdict)
    if not (folder / "outputs" / "model").exists():
        verdict.note(_LOST, f"the outputs of run {run.run_id}")
    logged = [
        point.value for point in evidence.workspace.history.get_metrics(run.run_id, "number")
    ]
    if missing := Counter(story.metrics) - Counter(logged):
        verdict.note(_LOST, f"metrics {sorted(missing)} of run {run.run_id}")
    if extra := Counter(logged) - Counter(story.metrics):
        verdict.note(_DUPLICATES, f"metrics {sorted(extra)} of run {run.run_id}")


def _judge_log(evidence: Evidence, path: Path, verdict: Verdict) -> None:
    try:
        kept = path.read_bytes()
    except FileNotFoundError:
        verdict.note(_LOST, f"log {path}")
        return
    while kept.startswith(_PREPARATION):
        kept = kept.partition(b"\n")[2]
    expected = evidence.story.log
    if kept.startswith(expected) and _is_ours(kept[len(expected) :]):
        return
    at = next(
        (n for n, pair in enumerate(zip(kept, expected, strict=False)) if pair[0] != pair[1]),
        min(len(kept), len(expected)),
    )
    kind = _LOST if len(kept) < len(expected) else _DUPLICATES
    if len(kept) == len(expected):
        kind = _WRONG
    verdict.note(kind, f"log {path} has {len(kept)} bytes of {len(expected)}, differs at {at}")


def _is_ours(rest: bytes) -> bool:
    """Whether what follows a script's words are lines of the product, or nothing."""
    return all(line.startswith(_PREPARATION) for line in rest.split(b"\n") if line)


def _judge_task(evidence: Evidence, verdict: Verdict) -> None:
    last = evidence.runs[-1]
    is_completed = last.status is RunStatus.COMPLETED
    end, value = ("done", last.run_id) if is_completed else ("failed", None)
    if evidence.task_end != end or (is_completed and evidence.task_value != value):
        words = f"the task is {evidence.task_end} ({evidence.task_value}), its run {last.status}"
        verdict.note(_WRONG, words)


@dataclass
class Row:
    """What became of all strikes of one victim."""

    count: int = 0
    verdict: Verdict = field(default_factory=Verdict)


class Table:
    """Target by victim, with what was doubled, lost and wrong."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Row] = {}

    def add(self, target: str, victims: Iterable[str], verdict: Verdict) -> None:
        """Count strikes that hit, and what was found after them."""
        for victim in victims:
            row = self._rows.setdefault((target, victim), Row())
            row.count += 1
            row.verdict.counts += verdict.counts
            row.verdict.words += verdict.words

    @property
    def count(self) -> int:
        """All strikes."""
        return sum(row.count for row in self._rows.values())

    @property
    def faults(self) -> list[str]:
        """What was not as it has to be."""
        return [
            f"{target}, {victim}: {words}"
            for (target, victim), row in self._rows.items()
            for words in row.verdict.words
        ]

    def __str__(self) -> str:
        head = (
            f"{'target':8} {'victim':28} {'count':>6} {'duplicates':>11} {'lost':>6} {'wrong':>6}"
        )
        lines = [head]
        for (target, victim), row in sorted(self._rows.items()):
            counts = row.verdict.counts
            lines.append(
                f"{target:8} {victim:28} {row.count:6} {counts[_DUPLICATES]:11} "
                f"{counts[_LOST]:6} {counts[_WRONG]:6}"
            )
        return "\n".join(lines)
