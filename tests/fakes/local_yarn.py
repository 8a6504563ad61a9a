"""A YARN on this machine, as far as spark-submit and the program `yarn` tell of one."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from tests.fakes.local_cluster import LocalCluster

if TYPE_CHECKING:
    from pathlib import Path


class LocalYarn(LocalCluster):
    """Its drivers are the application masters of their applications, one attempt each."""

    def __init__(self, folder: Path, java: tuple[str, ...] = ()) -> None:
        super().__init__(folder, java)
        self.write_program("spark/bin/spark-submit", "yarn_submit")
        self.write_program("hadoop/bin/yarn", "yarn")
        self.write_program("kerberos/kinit", "kinit")

    def connection(self, **mltrain: Any) -> dict[str, Any]:
        """An Airflow connection that puts drivers here."""
        told = {
            "callback_host": "127.0.0.1",
            "spark_home": str(self.folder / "spark"),
            "python": sys.executable,
            "environment_variables": {
                "HADOOP_HOME": str(self.folder / "hadoop"),
                "JAVA_HOME": str(self.folder / "java"),
                "PATH": f"{self.folder / 'kerberos'}:{os.environ['PATH']}",
            },
            **mltrain,
        }
        extra = {"deploy-mode": "cluster", "queue": "training", "mltrain": told}
        return {"conn_type": "spark", "host": "yarn", "extra": extra}
