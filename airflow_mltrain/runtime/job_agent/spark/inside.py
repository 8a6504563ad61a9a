"""The process that stands for a script whose Java its master has begun, as on YARN."""

import contextlib
import json
import os
import signal
import subprocess
import time
from typing import Any, Dict, List, NamedTuple, Optional

from ..environment import archive
from ..folder import JobFolder
from ..secret import read_secrets, take_over
from .command import ANY_PYTHON, Scratch, zip_modules
from .driver import (
    JAVA_VARIABLE,
    LOG_VARIABLE,
    PACKAGES_VARIABLE,
    PROPERTIES_VARIABLE,
    WORDS_VARIABLE,
)
from .launcher import end_as, mention_blindness, note_script_exit, say
from .watch import Watch

_GRACE_SECONDS = 10.0


class _Script(NamedTuple):
    argv: List[str]
    variables: Dict[str, str]


class InsideLauncher:
    """Runs the script of a driver beside the Java that is there, to its end."""

    def __init__(self, folder: JobFolder, tree: Optional[str], secrets: Dict[str, Any]) -> None:
        self._folder, self._tree = folder, tree
        self._properties: Dict[str, str] = secrets["properties"]
        self._spec = folder.read_spec()
        self._told: Dict[str, Any] = self._spec["spark"]
        self._script: Optional["subprocess.Popen[bytes]"] = None
        self._given_up: Optional[str] = None

    def run(self) -> int:
        """How the script ended: its exit code, or minus the number of the signal that ended it."""
        # A stop is told to every process of the job, and it is the script that may use its grace.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        scratch = Scratch(self._folder)
        try:
            script = _prepare(self._folder, self._spec, self._properties, self._tree, scratch)
            return self._drive(script)
        except OSError as error:
            self._note_fault("the script could not be begun: {}".format(error))
            return 1
        finally:
            scratch.remove()

    def _drive(self, script: _Script) -> int:
        java = int(script.variables.pop(JAVA_VARIABLE))
        self._script = subprocess.Popen(
            script.argv,
            cwd=self._folder.code,
            env=script.variables,
            stdin=subprocess.DEVNULL,
            preexec_fn=_take_terminate,  # noqa: PLW1509  # no threads yet
        )
        metrics = self._folder.metrics
        Watch(java, self._told, self._properties, metrics, say, self._give_up).start()
        mention_blindness(self._properties)
        code = self._script.wait()
        if self._given_up is not None:
            self._note_fault(self._given_up)
            return 1
        if not os.path.exists(script.variables[WORDS_VARIABLE]):  # which it takes as it begins
            note_script_exit(self._folder, code)
        return code

    def _give_up(self, reason: str) -> None:
        if self._given_up is not None or self._script is None:
            return
        self._given_up = reason
        self._script.terminate()
        time.sleep(_GRACE_SECONDS)
        self._script.kill()

    def _note_fault(self, reason: str) -> None:
        say(reason)
        with contextlib.suppress(OSError):
            self._folder.write_script_fault(reason)


def _prepare(
    folder: JobFolder,
    spec: Dict[str, Any],
    given: Dict[str, str],
    tree: Optional[str],
    scratch: Scratch,
) -> _Script:
    """What begins the script, with every file that it needs; `tree` is its environment."""
    told, variables = spec["spark"], dict(os.environ)
    modules = zip_modules(folder, spec, scratch)
    properties = dict(given)
    properties["spark.mltrain.runId"] = told["run_id"]
    properties["spark.files"] = properties["spark.submit.pyFiles"] = modules
    interpreter, *words = spec["argv"]
    if tree is not None:
        packed = scratch.take(archive.path_of(tree))
        properties["spark.archives"] = "{}#{}".format(packed, archive.NAME)
        interpreter = os.path.join(tree, "bin", "python")
        variables["PYSPARK_PYTHON"] = "./{}/bin/python".format(archive.NAME)
    elif interpreter in (ANY_PYTHON, told["default_python"]):
        interpreter = told["worker_python"]
        variables.setdefault("PYSPARK_PYTHON", interpreter)
    else:
        variables["PYSPARK_PYTHON"] = interpreter
    paths = [variables.get("PYTHONPATH"), variables.pop(PACKAGES_VARIABLE, None)]
    variables["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    variables[LOG_VARIABLE] = folder.log
    variables[WORDS_VARIABLE] = scratch.write("words", b"\0".join(map(os.fsencode, words)))
    variables[PROPERTIES_VARIABLE] = scratch.write("properties", json.dumps(properties).encode())
    with open(os.path.join(os.path.dirname(__file__), "driver.py"), "rb") as file:
        begin = scratch.write("mltrain_driver.py", file.read())
    return _Script([interpreter, begin], variables)


def _take_terminate() -> None:
    """Let the script be told, though who began it is not."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def main(argv: List[str]) -> None:
    """Run the script of a driver, as `launcher.main` runs a driver; its Java is there."""
    root, run_id, tree = argv
    secrets = read_secrets(take_over(), "spark")
    end_as(InsideLauncher(JobFolder(root, run_id), tree or None, secrets).run())
