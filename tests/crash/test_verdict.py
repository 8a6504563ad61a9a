"""The crash tests themselves: each fault that is planted is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash import victim
from tests.crash.campaign import Campaign
from tests.crash.script import Story
from tests.crash.trial import Plot, Strike

if TYPE_CHECKING:
    from tests.crash.ground import Ground

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


@pytest.mark.parametrize(
    ("sabotage", "plot", "kind"),
    [
        ("double_start", Plot(Story(seconds=5), tries=1), "duplicates"),
        ("lost_byte", Plot(), "lost"),
        ("doubled_byte", Plot(), "duplicates"),
        ("wrong_outcome", Plot(Story(exit_code=3), tries=1), "wrong"),
    ],
)
def test_a_planted_fault_is_seen(
    local_ground: Ground, sabotage: str, plot: Plot, kind: str
) -> None:
    # given
    campaign = Campaign(local_ground)

    # when
    result = campaign.play(plot, sabotage=sabotage)

    # then
    assert result.verdict.counts[kind] > 0, result.verdict.words


@pytest.mark.parametrize("story", [Story(), Story(exit_code=3, is_held=True)])
def test_a_retry_that_does_not_adopt_its_run_is_seen(local_ground: Ground, story: Story) -> None:
    # given
    campaign = Campaign(local_ground)
    started = campaign.rehearse().find("submit", "history.advance > do_commit")
    plot = Plot(story, strikes=(Strike(victim.TASK_KILLED, "submit", started),))

    # when
    result = campaign.play(plot, sabotage="second_generation")

    # then
    assert result.verdict.counts["duplicates"] > 0


def test_what_was_not_sabotaged_is_without_a_fault(local_ground: Ground) -> None:
    # given
    campaign = Campaign(local_ground)

    # when
    result = campaign.play(Plot(Story(exit_code=3), tries=2))

    # then
    assert result.verdict.words == []
