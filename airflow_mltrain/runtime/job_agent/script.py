"""The script of a job as a process: what it is given, and why it could not begin."""

import os
import subprocess
from typing import Any, Dict, List, Tuple

from . import process
from .folder import JobFolder

_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # as shells report them


class SpawnError(Exception):
    """The script could not begin; `exit_code` is what a shell would have said."""

    def __init__(self, reason: str, exit_code: int) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


def spawn(folder: JobFolder, spec: Dict[str, Any]) -> int:
    """Begin the script and return its pid; the caller reaps it, and it dies with the caller."""
    variables, own_pid = _variables(folder, spec), os.getpid()
    argv = _program(spec["argv"], variables)
    try:
        with open(folder.log, "ab") as log:
            script = subprocess.Popen(
                argv,
                cwd=folder.code,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: process.die_with(own_pid),  # noqa: PLW1509  # no threads here
            )
    except (OSError, ValueError) as error:  # ValueError: a NUL in a word
        raise SpawnError(*_diagnosis(folder, argv[0], error)) from None
    script.returncode = 0  # its end is the caller's to read
    return script.pid


def _variables(folder: JobFolder, spec: Dict[str, Any]) -> Dict[str, str]:
    variables = dict(os.environ)
    variables.setdefault("PYTHONUNBUFFERED", "1")  # the log is read while it grows
    variables.update(spec["environment_variables"])
    variables[process.RUN_ID_VARIABLE] = folder.run_id
    variables["MLTRAIN_METRICS"] = folder.metrics
    paths = [spec["training_modules"], variables.get("PYTHONPATH")]
    variables["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return variables


def _program(argv: List[str], variables: Dict[str, str]) -> List[str]:
    """The same, but for a `python` that the target knows as `python3` only, as Debian does."""
    if argv[0] != "python":
        return argv
    import shutil  # noqa: PLC0415  # dear at start-up, and needed only here

    if shutil.which("python", path=variables.get("PATH")) is None:
        return ["python3", *argv[1:]]
    return argv


def _diagnosis(folder: JobFolder, program: str, error: Exception) -> Tuple[str, int]:
    if not isinstance(error, FileNotFoundError):
        return "{!r} cannot be executed on the target: {}".format(program, error), _NOT_EXECUTABLE
    if os.sep in program and os.path.exists(os.path.join(folder.code, program)):
        return "{!r} names an interpreter that is not on the target".format(program), _NOT_FOUND
    if error.filename not in (program, None):
        return "the script could not be started: {}".format(error), _NOT_FOUND
    return "there is no program {!r} on the target".format(program), _NOT_FOUND
