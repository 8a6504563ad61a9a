"""Kills on this machine: at every step of a submission, of a watch and of an end.

The processes that are struck run the real operator and the real trigger, forked as Airflow forks
them; what Airflow itself would do is played by `trial.py`. `test_airflow.py` has the real one.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import pytest

from tests.crash import victim
from tests.crash.campaign import Campaign
from tests.crash.script import Story

if TYPE_CHECKING:
    from tests.crash.conftest import ShowTable
    from tests.crash.gate import Step
    from tests.crash.ground import Ground

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

_LASTING = Story(seconds=1.5)  # so that there is something to watch
_PREEMPTED = Story(seconds=0.2, preemptions=1)


def test_no_kill_at_any_step_of_a_task_doubles_or_loses_anything(
    local_ground: Ground, show: ShowTable
) -> None:
    # given
    campaign = Campaign(local_ground)
    rehearsal = campaign.rehearse()
    plots = campaign.at_steps(rehearsal, victim.TASK_KILLED, "submit")

    # when
    campaign.run(plots)

    # then
    show(campaign, fewest=70)
    assert campaign.table.faults == []


def test_no_kill_at_any_step_of_a_deferred_wait_doubles_or_loses_anything(
    local_ground: Ground, show: ShowTable
) -> None:
    # given
    campaign = Campaign(local_ground, is_deferrable=True)
    watched = campaign.rehearse(_LASTING)
    brief = campaign.rehearse()
    plots = chain(
        campaign.at_steps(watched, victim.TRIGGERER_KILLED, "watch", story=_LASTING),
        campaign.at_random(watched, victim.TRIGGERER_TERMINATED, "watch", 4, story=_LASTING),
        campaign.at_steps(brief, victim.TASK_KILLED, "resume", most=16),
    )

    # when
    campaign.run(plots)

    # then
    show(campaign, fewest=30)
    assert campaign.table.faults == []


def test_neither_strikes_at_any_time_nor_lost_connections_double_or_lose_anything(
    local_ground: Ground, show: ShowTable
) -> None:
    # given
    campaign = Campaign(local_ground)
    rehearsal = campaign.rehearse()
    failing = Story(exit_code=3)
    started = rehearsal.find("submit", "history.advance > do_commit")
    launch = rehearsal.find("submit", "fork_exec")
    plots = chain(
        campaign.at_random(rehearsal, victim.TASK_KILLED, "submit", 4, strikes=2),
        campaign.at_random(rehearsal, victim.TASK_KILLED, "submit", 4, story=failing),
        campaign.at_random(rehearsal, victim.TASK_TERMINATED, "submit", 4),
        campaign.at_steps(rehearsal, victim.HISTORY_CUT, "submit", most=12),
        campaign.at(started, victim.SUPERVISOR_KILLED, "submit", 3),
        campaign.at(launch, victim.LAUNCHER_KILLED, "submit", 4),
    )

    # when
    campaign.run(plots)

    # then
    show(campaign, fewest=20)
    assert campaign.table.faults == []


@pytest.mark.parametrize(("is_deferrable", "role"), [(False, "submit"), (True, "resume")])
def test_no_kill_between_a_preempted_run_and_the_next_doubles_or_loses_anything(
    local_ground: Ground, show: ShowTable, role: str, *, is_deferrable: bool
) -> None:
    # given
    campaign = Campaign(local_ground, is_deferrable=is_deferrable)
    rehearsal = campaign.rehearse(_PREEMPTED)
    steps = [step for step in rehearsal.distinct(role, 2) if _is_after_a_preemption(step, role)]

    # when
    campaign.run(
        chain.from_iterable(
            campaign.at(step, victim.TASK_KILLED, role, 1, story=_PREEMPTED)
            for step in _spread(steps, 14)
        )
    )

    # then
    show(campaign, fewest=10)
    assert campaign.table.faults == []


def _is_after_a_preemption(step: Step, role: str) -> bool:
    """Whether a step belongs to the second run, or to its being recorded."""
    if "go_on" in step.name:
        return True
    begins = any(part in step.name for part in ("_start", "_hand_over", "submission.start"))
    return begins and step.number == (2 if role == "submit" else 1)


def _spread(steps: list[Step], most: int) -> list[Step]:
    return [steps[n * len(steps) // most] for n in range(most)] if len(steps) > most else steps
