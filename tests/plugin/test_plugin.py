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
plugin = MLTrainPlugin()
loaded = sorted(set(sys.modules) - before)
(first,), (second,) = plugin.fastapi_apps, plugin.fastapi_apps
print(json.dumps([loaded, first["url_prefix"], first["app"] is second["app"]]))
"""


def test_the_app_is_built_once_and_only_when_it_is_asked_for(tmp_path: Path) -> None:
    # given
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}

    # when
    ended = subprocess.run(
        [sys.executable, "-c", LOAD], env=environment, check=True, capture_output=True
    )

    # then
    loaded, url_prefix, is_same_app = json.loads(ended.stdout.splitlines()[-1])
    rooms = ("airflow_mltrain", "airflow_mltrain.plugin", "airflow_mltrain.plugin.plugin")
    assert [module for module in loaded if module not in rooms] == []
    assert url_prefix == "/mltrain"
    assert is_same_app
