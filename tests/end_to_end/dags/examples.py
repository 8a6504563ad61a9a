"""The example Dags that Airflow is to find here too."""

from __future__ import annotations

import runpy
from pathlib import Path

_EXAMPLES = Path(__file__).parents[3] / "dags"

globals().update(runpy.run_path(str(_EXAMPLES / "retrain_on_ssh.py")))
