"""How long tests wait for what has to come: as long as for an Airflow."""

from __future__ import annotations

from scripts.airflow_stack import PATIENCE_SECONDS

__all__ = ["PATIENCE_SECONDS"]
