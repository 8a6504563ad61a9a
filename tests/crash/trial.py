"""The life of one task, played as Airflow would have it, with strikes on the way.

What Airflow does is done here by its rules: a task whose process died or failed is tried again
while it has tries, a trigger whose triggerer went runs again in the next one, an event resumes
its task, and a task that was told to stop is killed a little later. All else is the product's own.
"""

from __future__ import annotations

import math
import os
import random
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any

from tests.crash.gate import Step
from tests.crash.ground import Ground
from tests.crash.script import BRIEF, Story
from tests.crash.stage import Outcome, Part, play
from tests.crash.verdict import Evidence, Verdict, judge
from tests.crash.victim import TASK_TERMINATED, Scene, Victim
from tests.services.patience import PATIENCE_SECONDS

_TERMINATION_SECONDS = 1.0  # Airflow gives a task five
_RETRY_SECONDS = 1.0  # before the second try, and more before the next; Airflow gives minutes
_AGAIN_SECONDS = 0.2  # at most, until a strike that met nobody is tried again

# Where a process begins, multiprocessing looks after all others as well, which may not be closed
# meanwhile.
_reaping = threading.Lock()


@dataclass(frozen=True)
class Strike:
    """Who is struck while which role is played, at a step or after so many seconds.

    After so many seconds, or soon after there is somebody to be struck.
    """

    victim: Victim
    role: str
    moment: Step | float

    def __str__(self) -> str:
        when = self.moment if isinstance(self.moment, Step) else f"after {self.moment:.3f} s"
        return f"{self.victim.name} of {self.role} {when}"


@dataclass(frozen=True)
class Plot:
    """What a trial is about."""

    story: Story = BRIEF
    is_deferrable: bool = False
    strikes: tuple[Strike, ...] = ()
    tries: int = 4


@dataclass
class Result:
    """What came of a trial."""

    verdict: Verdict
    hits: list[Strike] = field(default_factory=list)
    steps: dict[str, list[Step]] = field(default_factory=dict)  # by role, of a rehearsal
    seconds: dict[str, float] = field(default_factory=dict)  # by role


class Trial:
    """One task from its first attempt to its end."""

    def __init__(
        self,
        server: ForkServerContext,
        ground: Ground,
        plot: Plot,
        dag_run_id: str,
        *,
        is_rehearsal: bool = False,
        sabotage: str | None = None,
    ) -> None:
        self._is_rehearsal = is_rehearsal
        self._sabotage = sabotage
        self._server = server
        self._ground = ground
        self._plot = plot
        self._dag_run_id = dag_run_id
        self._strikes = list(plot.strikes)
        self._result = Result(Verdict())
        self._diary = ground.diary(dag_run_id)
        self._is_job_struck = False

    def run(self) -> Result:
        """Play it to its end, and judge what is left."""
        end = self._play()
        self._result.verdict = judge(
            Evidence(
                self._plot.story,
                self._ground.runs_of(self._dag_run_id),
                self._diary,
                self._ground.workspace,
                end.kind,
                end.value,
                self._is_job_struck,
            )
        )
        return self._result

    def _play(self) -> Outcome:
        tries = 0
        while tries < self._plot.tries:
            tries += 1
            outcome = self._leg("submit", tries, {})
            while outcome.kind == "deferred":
                deferred = outcome.value
                while (outcome := self._leg("watch", tries, deferred)).kind in ("died", "stopped"):
                    pass  # the next triggerer takes it
                if outcome.kind == "event":
                    outcome = self._leg("resume", tries, outcome.value)
            if outcome.kind in ("done", "failed", "hung"):
                return outcome
            if outcome.kind == "retry":
                time.sleep(tries * _RETRY_SECONDS)
        return Outcome("failed", "it has no more tries")

    def _leg(self, role: str, tries: int, given: dict[str, Any]) -> Outcome:
        strike = self._strikes.pop(0) if self._is_next(role) else None
        moment = strike.moment if strike else None
        ground, plot = self._ground, self._plot
        output = ground.folder / "output"
        output.mkdir(exist_ok=True)
        part = Part(
            role,
            ground.variables(self._dag_run_id, is_deferrable=plot.is_deferrable),
            ground.config(plot.story, self._diary),
            self._dag_run_id,
            tries,
            plot.tries - 1,
            plot.is_deferrable,
            output / f"{self._dag_run_id}.log",
            given,
            moment if isinstance(moment, Step) else None,
            self._is_rehearsal,
            self._sabotage,
        )
        leg = _Leg(self._server, part)
        try:
            return self._follow(leg, role, strike)
        finally:
            leg.close()

    def _is_next(self, role: str) -> bool:
        return bool(self._strikes) and self._strikes[0].role == role

    def _follow(self, leg: _Leg, role: str, strike: Strike | None) -> Outcome:
        began = time.monotonic()
        deadline = began + PATIENCE_SECONDS
        strike_at = kill_at = math.inf
        if strike is not None and not isinstance(strike.moment, Step):
            strike_at = began + strike.moment
        while True:
            news = leg.next_report(min(deadline, strike_at, kill_at))
            now = time.monotonic()
            if isinstance(news, tuple):
                outcome, steps = news
                self._result.steps.setdefault(role, steps)  # a strike meets the first of a role
                self._result.seconds.setdefault(role, now - began)
                return Outcome(*outcome)
            if leg.is_dead or now >= deadline:
                leg.kill()
                return Outcome("died" if leg.is_dead else "hung", role)
            if strike is not None and (news is not None or now >= strike_at):
                is_hit = self._strike(strike, leg.pid)
                is_over = is_hit or isinstance(strike.moment, Step)
                strike_at = math.inf if is_over else _soon()
                if strike.victim is TASK_TERMINATED:
                    kill_at = time.monotonic() + _TERMINATION_SECONDS
                leg.cue()
            elif now >= kill_at:
                leg.kill()
                kill_at = math.inf

    def _strike(self, strike: Strike, pid: int) -> bool:
        is_hit = strike.victim.strike(Scene(self._ground, self._dag_run_id, pid))
        if is_hit:
            self._result.hits.append(strike)
            self._is_job_struck |= strike.victim.is_job_struck
        return is_hit


def _soon() -> float:
    return time.monotonic() + random.uniform(0, _AGAIN_SECONDS)  # noqa: S311


class _Leg:
    """A process that plays a part."""

    def __init__(self, server: ForkServerContext, part: Part) -> None:
        self._reports, report_end = server.Pipe(duplex=False)
        cue_end, self._cues = server.Pipe(duplex=False)
        self._process: ForkServerProcess = server.Process(
            target=play, args=(part, report_end, cue_end)
        )
        with _reaping:
            self._process.start()
        report_end.close()
        cue_end.close()
        self.is_dead = False

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def next_report(self, until: float) -> Any:
        """What the process says next; None where it says nothing until then, or is dead."""
        ready = wait([self._reports], max(0.0, until - time.monotonic()))
        if ready:
            try:
                return self._reports.recv()
            except (EOFError, OSError):
                self.is_dead = True
        return None

    def cue(self) -> None:
        """Let it go on, if it lives."""
        with suppress(OSError):
            self._cues.send(None)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """See it end."""
        self._cues.close()
        if not wait([self._process.sentinel], PATIENCE_SECONDS):
            self.kill()
            wait([self._process.sentinel])
        with _reaping:
            self._process.close()
        self._reports.close()
