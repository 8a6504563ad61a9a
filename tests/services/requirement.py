"""What happens to a test whose component is missing: it skips, or fails where it is required."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def require(component: str, reason: str) -> NoReturn:
    """End the test: failed where the comma list MLTRAIN_REQUIRE has the component, or skipped."""
    required = {name.strip() for name in os.environ.get("MLTRAIN_REQUIRE", "").split(",")}
    if component in required:
        pytest.fail(f"{component} is required here, but {reason}")
    pytest.skip(f"{component}: {reason}")
