"""Files of Azure ML's SDK that tests load and save."""

from __future__ import annotations

import warnings
from pathlib import Path

from airflow_mltrain import ScriptRunConfig

FILES = Path(__file__).parent / "files"
FRESH = (FILES / "fresh.runconfig").read_text()
CLUSTER = (FILES / "cluster.runconfig").read_text()
JOB = (FILES / "job.yml").read_text()


def load(file: Path, source_directory: Path | None = None) -> ScriptRunConfig:
    """Load a file whatever is not here in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ScriptRunConfig.load(file, source_directory)
