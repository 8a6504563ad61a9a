"""What every Airflow process loads, for its api-server to add our pages."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin


class MLTrainPlugin(AirflowPlugin):
    """Adds the page of a training run to the Airflow UI, below `/mltrain`."""

    name = "mltrain"

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]  # lazy, so no plain attribute
        """The app behind `/mltrain`, built when it is first read, and the same ever after."""
        from airflow_mltrain.plugin.access import AirflowViewer  # noqa: PLC0415
        from airflow_mltrain.plugin.app import create_app  # noqa: PLC0415
        from airflow_mltrain.workspace import Workspace  # noqa: PLC0415

        app = create_app(Workspace.from_config, AirflowViewer)
        return [{"app": app, "url_prefix": "/mltrain", "name": "mltrain"}]
