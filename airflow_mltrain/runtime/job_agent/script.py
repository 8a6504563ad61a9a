"""The script of a job as a process: what it is given, and why it could not begin."""

import contextlib
import os
import subprocess
import sys
from typing import Any, Dict, Iterator, List, Optional, Tuple

from . import process
from .folder import JobFolder
from .script_user import ScriptUser
from .secret import hand_on, read_secrets

_BOOT_BUILDER = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from job_agent.environment.builder import main; main(sys.argv[2:])"
)
_BOOT_SPARK = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from job_agent.spark.launcher import main; main(sys.argv[2:])"
)
_BOOT_CLUSTER = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from job_agent.cluster.launcher import main; main(sys.argv[2:])"
)
_BOOT_INSIDE = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from job_agent.spark.inside import main; main(sys.argv[2:])"
)
_FOREIGN_PACKAGES = ("PYTHONPATH", "PYTHONHOME", "CONDA_PREFIX")
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # as shells report them


class SpawnError(Exception):
    """The script could not begin; `exit_code` is what a shell would have said."""

    def __init__(self, reason: str, exit_code: int) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


def spawn(
    folder: JobFolder,
    spec: Dict[str, Any],
    environment: Optional[str] = None,
    user: Optional[ScriptUser] = None,
    secrets: bytes = b"",
) -> int:
    """Begin the script and return its pid; the caller reaps it, and it dies with the caller.

    `environment` is the folder of a virtual environment, whose programs come first. Of the
    `secrets` the script gets its variables; the rest is for what begins a Spark driver.
    """
    chosen = {**spec["environment_variables"], **(read_secrets(secrets, "variables") or {})}
    variables = _variables(folder, dict(spec, environment_variables=chosen), environment, user)
    if spec.get("spark") is None:
        argv = _program(spec["argv"], variables)
        return _spawn(folder, argv, folder.code, variables, user=user)
    boot = _find_boot(spec["spark"])
    argv = [*own_program(boot), folder.root, folder.run_id, environment or ""]
    with _handed_on(secrets) as handed_over:
        return _spawn(folder, argv, folder.code, variables, stdin=handed_over, user=user)


def spawn_builder(folder: JobFolder, secrets: bytes) -> int:
    """Begin to build the job's environment, as `spawn` begins its script."""
    argv = [*own_program(_BOOT_BUILDER), folder.root, folder.run_id]
    with _handed_on(secrets) as handed_over:
        return _spawn(folder, argv, folder.path, dict(os.environ), stdin=handed_over)


@contextlib.contextmanager
def _handed_on(secrets: bytes) -> Iterator[int]:
    descriptor = hand_on(secrets)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def own_program(boot: str) -> List[str]:
    """What begins a program of the job agent's, whatever the job's environment is."""
    runtime = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return [sys.executable, "-I", "-S", "-X", "utf8", "-c", boot, runtime]


def _find_boot(told: Dict[str, Any]) -> str:
    """What begins a driver: here, where its Java runs already, or on its cluster."""
    if told["manager"] is not None:
        return _BOOT_CLUSTER
    return _BOOT_INSIDE if told.get("is_inside") else _BOOT_SPARK


def _spawn(
    folder: JobFolder,
    argv: List[str],
    cwd: str,
    variables: Dict[str, str],
    stdin: int = subprocess.DEVNULL,
    user: Optional[ScriptUser] = None,
) -> int:
    own_pid = os.getpid()

    def begin() -> None:
        if user is not None:
            user.become()
        process.die_with(own_pid)  # after that: another user's process forgets it

    try:
        with open(folder.log, "ab") as log:
            script = subprocess.Popen(
                argv,
                cwd=cwd,
                env=variables,
                stdin=stdin,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=begin,  # noqa: PLW1509  # no threads here
            )
    except (OSError, ValueError) as error:  # ValueError: a NUL in a word
        raise SpawnError(*_diagnosis(folder, argv[0], error)) from None
    script.returncode = 0  # its end is the caller's to read
    return script.pid


def _variables(
    folder: JobFolder,
    spec: Dict[str, Any],
    environment: Optional[str],
    user: Optional[ScriptUser],
) -> Dict[str, str]:
    variables = dict(os.environ)
    if user is not None:
        variables["HOME"] = user.home
    variables.setdefault("PYTHONUNBUFFERED", "1")  # the log is read while it grows
    if environment is not None:
        for foreign in _FOREIGN_PACKAGES:
            variables.pop(foreign, None)
        variables["PYTHONNOUSERSITE"] = "1"
        variables["VIRTUAL_ENV"] = environment
    variables.update(spec["environment_variables"])
    if environment is not None:
        programs = [os.path.join(environment, "bin"), variables.get("PATH", os.defpath)]
        variables["PATH"] = os.pathsep.join(programs)
    variables[process.RUN_ID_VARIABLE] = folder.run_id
    variables["MLTRAIN_METRICS"] = folder.metrics
    variables["MLTRAIN_CODE"] = folder.code
    variables["MLTRAIN_FACTS"] = folder.facts
    variables.pop("MLTRAIN_PREVIOUS_OUTPUTS", None)
    if spec.get("previous_outputs") is not None:
        variables["MLTRAIN_PREVIOUS_OUTPUTS"] = folder.previous_outputs
    variables.pop("MLTRAIN_CHILD_ID", None)  # of a script that submitted this job
    paths = [spec["training_modules"], variables.get("PYTHONPATH")]
    variables["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return variables


def _program(argv: List[str], variables: Dict[str, str]) -> List[str]:
    """The same, but for a `python` that the target knows as `python3` only, as Debian does."""
    if argv[0] != "python":
        return argv
    # As `shutil.which`, which is dear at start-up, and needed only here.
    places = [os.path.join(folder, "python") for folder in os.get_exec_path(variables)]
    is_there = any(os.path.isfile(place) and os.access(place, os.X_OK) for place in places)
    return argv if is_there else ["python3", *argv[1:]]


def _diagnosis(folder: JobFolder, program: str, error: Exception) -> Tuple[str, int]:
    if not isinstance(error, FileNotFoundError):
        return "{!r} cannot be executed on the target: {}".format(program, error), _NOT_EXECUTABLE
    if os.sep in program and os.path.exists(os.path.join(folder.code, program)):
        return "{!r} names an interpreter that is not on the target".format(program), _NOT_FOUND
    if error.filename not in (program, None):
        return "the script could not be started: {}".format(error), _NOT_FOUND
    return "there is no program {!r} on the target".format(program), _NOT_FOUND
