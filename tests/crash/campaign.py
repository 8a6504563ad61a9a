"""Many trials on one ground: a rehearsal finds the steps, then each is struck."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from tests.crash.gate import Roll, Step
from tests.crash.ground import Ground
from tests.crash.script import BRIEF, Story
from tests.crash.trial import Plot, Result, Strike, Trial
from tests.crash.verdict import Table
from tests.crash.victim import Victim
from tests.services.processes import fork_server

_AT_ONCE = 4
_DRAWS = 6  # of a moment, until somebody is hit
_numbers = itertools.count(1)


@dataclass
class Rehearsal:
    """What an unhurt trial does, by role, and how long each role takes."""

    steps: dict[str, list[Step]]
    seconds: dict[str, float]

    def distinct(self, role: str, repetitions: int = 1) -> list[Step]:
        """The steps of a role, each name a few times."""
        roll = Roll()
        roll.steps = self.steps.get(role, [])
        return roll.distinct(repetitions)

    def find(self, role: str, words: str) -> Step:
        """After the first step of a role whose name has these words."""
        return next(step for step in self.distinct(role) if words in step.name and step.is_after)


@dataclass
class Campaign:
    """Strikes on one ground, and the table of what they did."""

    ground: Ground
    table: Table = field(default_factory=Table)
    is_deferrable: bool = False
    at_once: int = _AT_ONCE
    seed: int = 0
    wanted: int = 0  # strikes; some find nobody to hit

    def __post_init__(self) -> None:
        self._server = fork_server()
        self._random = random.Random(self.seed)  # noqa: S311

    def rehearse(self, story: Story = BRIEF) -> Rehearsal:
        """Play a trial without a strike, twice; it has to be faultless."""
        plot = Plot(story, self.is_deferrable, tries=1)
        first = self.play(plot, is_rehearsal=True)
        second = self.play(plot)  # nothing is new any more, and nobody takes notes: as later ones
        words = first.verdict.words + second.verdict.words
        assert not words, words
        return Rehearsal(first.steps, second.seconds)

    def play(
        self, plot: Plot, *, is_rehearsal: bool = False, sabotage: str | None = None
    ) -> Result:
        """Play one trial."""
        result = Trial(
            self._server,
            self.ground,
            plot,
            f"trial-{next(_numbers)}",
            is_rehearsal=is_rehearsal,
            sabotage=sabotage,
        ).run()
        strikes = "; ".join(map(str, plot.strikes))
        result.verdict.words = [f"{words} ({strikes})" for words in result.verdict.words]
        return result

    def run(self, plots: Iterable[Plot]) -> None:
        """Play trials side by side, and enter them into the table."""
        wanted = list(plots)
        with ThreadPoolExecutor(self.at_once) as pool:
            for result in itertools.chain.from_iterable(pool.map(self._play_until_hit, wanted)):
                victims = [strike.victim.name for strike in result.hits]
                self.table.add(self.ground.target, victims, result.verdict)
        self.wanted += sum(len(plot.strikes) for plot in wanted)

    def _play_until_hit(self, plot: Plot) -> list[Result]:
        """Play it again while a strike at some time finds nobody, as it was soon over."""
        results: list[Result] = []
        while plot.strikes and len(results) < _DRAWS:
            result = self.play(plot)
            results.append(result)
            missed = (one for one in plot.strikes if one not in result.hits)
            plot = replace(
                plot,
                strikes=tuple(
                    replace(one, moment=self._random.uniform(0.0, result.seconds[one.role]))
                    for one in missed
                    if not isinstance(one.moment, Step) and one.role in result.seconds
                ),
            )
        return results

    def at_steps(
        self,
        rehearsal: Rehearsal,
        victim: Victim,
        role: str,
        *,
        story: Story = BRIEF,
        repetitions: int = 1,
        most: int | None = None,
    ) -> Iterator[Plot]:
        """A trial for each step of a role, or for so many of them, spread evenly."""
        steps = rehearsal.distinct(role, repetitions)
        if most is not None and most < len(steps):
            steps = [steps[n * len(steps) // most] for n in range(most)]
        for step in steps:
            yield from self.at(step, victim, role, 1, story=story)

    def at(
        self, step: Step, victim: Victim, role: str, count: int, *, story: Story = BRIEF
    ) -> Iterator[Plot]:
        """So many trials with one step struck."""
        strike = Strike(victim, role, step)
        yield from [Plot(story, self.is_deferrable, (strike,))] * count

    def at_random(
        self,
        rehearsal: Rehearsal,
        victim: Victim,
        role: str,
        count: int,
        *,
        strikes: int = 1,
        story: Story = BRIEF,
    ) -> Iterator[Plot]:
        """Trials with strikes at random moments of a role, one after the other."""
        for _ in range(count):
            moments = [self._random.uniform(0.0, rehearsal.seconds[role]) for _ in range(strikes)]
            chosen = tuple(Strike(victim, role, moment) for moment in moments)
            yield Plot(story, self.is_deferrable, chosen)
