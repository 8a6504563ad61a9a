"""What all parts of the compute target's contract share: a bench that leaves nothing running."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.services.jobs import JobBench, require_quiet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class BenchContract:
    """Gives each test its bench, and fails one whose processes outlive it."""

    @pytest.fixture
    def bench(self, tmp_path: Path) -> Iterator[JobBench]:
        bench = JobBench(tmp_path / "bench")
        yield bench
        require_quiet(bench)
