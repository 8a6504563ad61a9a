"""A cluster on this machine, as far as the programs tell of it that put drivers there."""

from __future__ import annotations

import json
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.fakes import cluster_programs
from tests.fakes.cluster_programs import begun_driver

if TYPE_CHECKING:
    import subprocess

    from typing_extensions import Self

_PACKAGE = cluster_programs.__name__
_TOP = Path(str(cluster_programs.__file__)).parents[3]


class LocalCluster:
    """Runs what its programs were given, each in a folder of its own. A context manager.

    The programs behave as their documentation says, and err as told: `set("loses-answer")` and
    the like leave a file that they look for.
    """

    def __init__(self, folder: Path, java: tuple[str, ...] = ()) -> None:
        """With the words that begin the Java of a driver, that is a real one."""
        self.folder, self._java = folder, java
        (folder / "drivers").mkdir(parents=True)
        self.write_program("java/bin/java", None)
        self._begun: list[subprocess.Popen[bytes]] = []
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

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
    def places(self) -> list[Path]:
        """The folder of each driver."""
        return sorted(self.folder.glob("drivers/*/*/"))

    @property
    def running(self) -> list[Path]:
        """Those whose driver has not ended."""
        begun = [place for place in self.places if (place / "pid").exists()]
        return [place for place in begun if begun_driver.exit_code(place) is None]

    def facts(self, place: Path) -> dict[str, Any]:
        """What is known of a driver: its properties, and more."""
        return dict(json.loads((place.parent / "facts.json").read_text()))

    def is_killed(self, place: Path) -> bool:
        """Whether the cluster was told to end a driver."""
        return (place.parent / "killed").exists()

    def lose(self, place: Path) -> None:
        """End a driver, as a machine does that lacks memory."""
        begun_driver.end(place)

    def write_program(self, name: str, module: str | None) -> None:
        """Have a program that is one of `cluster_programs`, or does nothing."""
        path = self.folder / name
        path.parent.mkdir(parents=True)
        run = f'exec {sys.executable} -m {_PACKAGE}.{module} {self.folder} "$@"'
        begin = "" if module is None else f"PYTHONPATH={_TOP} {run}"
        path.write_text(f"#!/bin/sh\n{begin}\n")
        path.chmod(0o755)

    def _serve(self) -> None:
        """Begin what was submitted, as a machine does that has room."""
        while not self._is_closed.wait(0.05):
            with suppress(FileNotFoundError):  # a driver was removed meanwhile
                for place in self.places:
                    if self._is_to_begin(place):
                        self._begun.append(self._begin(place))

    def _is_to_begin(self, place: Path) -> bool:
        obstacles = (
            self.folder / "is-full",
            *(place / "pid", place.parent / "killed", place.parent / "is-incomplete"),
        )
        return not any(one.exists() for one in obstacles)

    def _begin(self, place: Path) -> subprocess.Popen[bytes]:
        facts = self.facts(place)
        argv = [*self._java, *facts["argv"][1:]] if self._java else facts["argv"]
        return begun_driver.begin(place, argv, facts["variables"])
