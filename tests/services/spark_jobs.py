"""Jobs on a Spark target: what is Python is a driver, begun by spark-submit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_mltrain.targets.base import Job
from airflow_mltrain.targets.spark_job import SparkRequest
from tests.services.jobs import JobBench

if TYPE_CHECKING:
    from collections.abc import Mapping


# It says that it has begun, and goes on until the file `release` is there.
UNTIL_RELEASED = """
import os, time
open(os.environ["OUTSIDE"] + f"/began-{os.getpid()}", "w").close()
print("ready", flush=True)
while not os.path.exists(os.environ["OUTSIDE"] + "/release"):
    time.sleep(0.05)
"""


@dataclass
class SparkJobBench(JobBench):
    """A bench whose Python scripts are drivers."""

    def unsent_job(self, *argv: str, files: Mapping[str, str] | None = None, **facts: Any) -> Job:
        """As `JobBench` says; a script for Python asks of Spark what `spark` says, or nothing."""
        request = facts.pop("spark", SparkRequest())
        job = super().unsent_job(*argv, files=files, **facts)
        is_script = argv[0] in ("python", "python3") and "train.py" in (files or {})
        return replace(job, spark=request) if is_script else job
