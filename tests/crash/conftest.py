"""The grounds of the crash tests, and how their tables are shown and judged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.crash.ground import Ground

if TYPE_CHECKING:
    from tests.crash.campaign import Campaign
    from tests.services.postgresql import PostgresqlServer


class ShowTable(Protocol):
    """Prints a campaign's table, and fails where it has a fault or too few strikes."""

    def __call__(self, campaign: Campaign, *, fewest: int) -> None:
        """`fewest` are the strikes that have to have hit."""


@pytest.fixture
def show(record_property: Callable[[str, object], None]) -> ShowTable:
    def show(campaign: Campaign, *, fewest: int) -> None:
        record_property("table", str(campaign.table))
        assert campaign.table.faults == []
        assert campaign.table.count >= fewest, f"{campaign.table.count} of {campaign.wanted} hit"

    return show


@pytest.fixture
def local_ground(tmp_path: Path, postgresql: PostgresqlServer) -> Ground:
    return Ground("local", tmp_path, postgresql.create_database())
