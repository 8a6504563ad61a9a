"""What loading the plugin costs the Airflow processes that show no pages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LOAD = """
import json, sys
import airflow.plugins_manager
before = set(sys.modules)
from airflow_mltrain.plugin.plugin import MLTrainPlugin
MLTrainPlugin()
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_a_process_that_shows_no_pages_loads_nothing_for_them(tmp_path: Path) -> None:
    # given
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}

    # when
    ended = subprocess.run(
        [sys.executable, "-c", LOAD], env=environment, check=True, capture_output=True
    )

    # then
    loaded = set(json.loads(ended.stdout.splitlines()[-1]))
    rooms = {"airflow_mltrain", "airflow_mltrain.plugin", "airflow_mltrain.plugin.plugin"}
    assert loaded - rooms == set()
