"""How long tests wait for what has to come."""

from __future__ import annotations

# Only what never comes is waited for so long, however much else the machine does.
PATIENCE_SECONDS = 600.0
