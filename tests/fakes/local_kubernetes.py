"""A Kubernetes on this machine, as far as spark-submit tells of one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from tests.fakes.local_cluster import LocalCluster

if TYPE_CHECKING:
    from pathlib import Path


class LocalKubernetes(LocalCluster):
    """Its drivers are pods that are begun once, and kept when they have ended."""

    def __init__(self, folder: Path, java: tuple[str, ...] = ()) -> None:
        super().__init__(folder, java)
        self.write_program("spark/bin/spark-submit", "kubernetes_submit")

    def connection(self, **mltrain: Any) -> dict[str, Any]:
        """An Airflow connection that puts drivers here."""
        told = {
            "callback_host": "127.0.0.1",
            "spark_home": str(self.folder / "spark"),
            "python": sys.executable,
            "environment_variables": {"JAVA_HOME": str(self.folder / "java")},
            **mltrain,
        }
        extra = {"deploy-mode": "cluster", "namespace": "training", "mltrain": told}
        return {"conn_type": "spark", "host": "k8s://https://127.0.0.1", "port": 1, "extra": extra}
