"""A YARN on this machine, as far as spark-submit and the program `yarn` tell of one."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.fakes import cluster_programs
from tests.fakes.cluster_programs import begun_driver

if TYPE_CHECKING:
    import subprocess

    from typing_extensions import Self

_FOR_DRIVERS = "spark.yarn.appMasterEnv."
_PACKAGE = cluster_programs.__name__
_TOP = Path(str(cluster_programs.__file__)).parents[3]


class LocalYarn:
    """Runs drivers as processes, each in the folder of its container. A context manager.

    Its programs behave as their documentation says, and err as told: `set("loses-answer")` and
    the like leave a file that they look for.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "applications").mkdir(parents=True)
        write_program(folder / "spark/bin/spark-submit", "yarn_submit", folder)
        write_program(folder / "hadoop/bin/yarn", "yarn", folder)
        write_program(folder / "java/bin/java", None, folder)
        self._begun: list[subprocess.Popen[bytes]] = []
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def connection(self, **mltrain: Any) -> dict[str, Any]:
        """An Airflow connection that puts drivers here."""
        told = {
            "callback_host": "127.0.0.1",
            "spark_home": str(self.folder / "spark"),
            "python": sys.executable,
            "environment_variables": {
                "HADOOP_HOME": str(self.folder / "hadoop"),
                "JAVA_HOME": str(self.folder / "java"),
            },
            **mltrain,
        }
        extra = {"deploy-mode": "cluster", "queue": "training", "mltrain": told}
        return {"conn_type": "spark", "host": "yarn", "extra": extra}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closed.set()
        self._thread.join()
        for place in self.running:
            begun_driver.end(place)
        for java in self._begun:
            java.wait()

    def set(self, fault: str) -> None:
        """Have it err from now on."""
        (self.folder / fault).touch()

    def mend(self, fault: str) -> None:
        """Have it err no more."""
        (self.folder / fault).unlink()

    @property
    def submissions(self) -> list[list[str]]:
        """What spark-submit was told, each time."""
        lines = (self.folder / "submissions").read_text().splitlines()
        return [json.loads(line) for line in lines]

    @property
    def containers(self) -> list[Path]:
        """The folder of each driver."""
        return sorted((self.folder / "applications").glob("application_*/container_*"))

    @property
    def running(self) -> list[Path]:
        """Those whose driver has not ended."""
        begun = [place for place in self.containers if (place / "pid").exists()]
        return [place for place in begun if begun_driver.exit_code(place) is None]

    def facts(self, place: Path) -> dict[str, Any]:
        """The tags and the properties of a driver's application."""
        return dict(json.loads((place.parent / "facts.json").read_text()))

    def lose(self, place: Path) -> None:
        """End a driver, as a node does that lacks memory."""
        begun_driver.end(place)

    def _serve(self) -> None:
        """Begin what was submitted, as a node does that has room."""
        while not self._is_closed.wait(0.05):
            for place in self.containers:
                is_waiting = (
                    not (place / "pid").exists() and not (place.parent / "killed").exists()
                )
                if is_waiting and not (self.folder / "is-full").exists():
                    self._begin(place)

    def _begin(self, place: Path) -> None:
        properties = self.facts(place)["properties"]
        told = {
            name.removeprefix(_FOR_DRIVERS): value
            for name, value in properties.items()
            if name.startswith(_FOR_DRIVERS)
        }
        python = properties["spark.pyspark.driver.python"]
        java = begun_driver.begin(place, [python, "program.py"], told)
        self._begun.append(java)


def write_program(path: Path, module: str | None, folder: Path) -> None:
    """Have a program that is one of `cluster_programs`, or does nothing."""
    path.parent.mkdir(parents=True)
    run = f'exec {sys.executable} -m {_PACKAGE}.{module} {folder} "$@"'
    begin = "" if module is None else f"PYTHONPATH={_TOP} {run}"
    path.write_text(f"#!/bin/sh\n{begin}\n")
    path.chmod(0o755)
