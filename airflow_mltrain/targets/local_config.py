"""What a connection says of this machine as a compute target, checked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from airflow_mltrain.config.model import ConfigModel
from airflow_mltrain.targets.config import Count, Gpus


class LocalTargetConfig(ConfigModel):
    """The extra of a connection to this machine; the UI stores what was left empty as null."""

    kind: Literal["local"] | None = "local"
    root: Annotated[str, Field(strict=True, pattern="^/")] | None = None
    max_concurrent_runs: Count | None = None
    gpus: Gpus = None
