"""The files of one job on a machine; nothing else knows their names."""

import contextlib
import errno
import json
import os
import re
import stat
from typing import Any, Dict, Optional

from . import file_lock
from .job_state import read_job_state
from .plain_file import (
    draft_of,
    make_lasting,
    put_in_place,
    read_from,
    read_plain,
    remove_file,
    size_of,
    write_file,
    write_new,
)
from .removal import open_up

TERMINAL = ("Completed", "Failed", "Canceled")
# As `spark/command.py` writes them.
SPARK_SECRETS = ("spark/properties", "spark/keytab", "spark/tickets")
_RUN_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")
_RESERVE_BYTES = 16 * 1024
_STATE_BYTES = 1024 * 1024
# Of a state as a power cut may leave it, or a script: whoever wrote it cannot be asked.
_LOST = {"pid": 0, "boot_id": "of a power cut", "pid_namespace": "", "start_time": ""}
_ENVIRONMENT_BYTES = 64 * 1024 * 1024
_SPEC_BYTES = 256 * 1024 * 1024
_FAULT_BYTES = 16 * 1024
_OWNERS_BITS = stat.S_IRUSR | stat.S_IWUSR


class JobFolder:
    """`<root>/runs/<run_id>/`: the job's code, log, metrics and state.

    `state.json` is the claim: whoever creates it is the one supervisor the job will ever have.
    """

    def __init__(self, root: str, run_id: str) -> None:
        if not _RUN_ID.fullmatch(run_id):
            raise ValueError("not a run id: {!r}".format(run_id))
        self.root = root
        self.run_id = run_id
        self._runs = os.path.join(root, "runs")
        self.path = os.path.join(self._runs, run_id)
        self.blobs = os.path.join(root, "blobs")
        self.slots = os.path.join(root, "slots")
        self.gpus = os.path.join(root, "gpus")
        self.environments = os.path.join(root, "envs")
        self.code = os.path.join(self.path, "code")
        self.outputs = os.path.join(self.code, "outputs")
        self.watched_logs = os.path.join(self.code, "logs")
        self.previous_outputs = os.path.join(self.path, "previous_outputs")
        self.log = os.path.join(self.path, "log")
        self.metrics = os.path.join(self.path, "metrics.jsonl")
        self.facts = os.path.join(self.path, "facts.json")
        self.spec = os.path.join(self.path, "job.json")
        self.state = os.path.join(self.path, "state.json")
        self.cancel_mark = os.path.join(self.path, "cancel")
        self.attendance_mark = os.path.join(self.path, "attended")
        self.burial_lock = os.path.join(self.path, "lock")
        self.supervisor_log = os.path.join(self.path, "supervisor.log")
        self.environment = os.path.join(self.path, "environment.json")
        self.secrets = os.path.join(self.path, "secrets")
        self.preparation_fault = os.path.join(self.path, "preparation-fault")
        self._script_fault = os.path.join(self.path, "script-fault")
        self._script_exit = os.path.join(self.path, "script-exit")
        self._reserve = os.path.join(self.path, "state.reserve")
        self._life = os.path.join(self.path, "life")

    def create(self) -> None:
        """Make the folder, for its owner alone; nothing if it is there.

        What a script has put in its place lies in it then; a folder that it has shut is open, and
        so is that of all jobs.
        """
        try:
            self._make()
        except PermissionError:
            if not open_up(self._runs):
                raise
            self._make()
        open_up(self.path)

    def _make(self) -> None:
        with contextlib.suppress(FileExistsError):
            os.makedirs(self.path, mode=0o700, exist_ok=True)
            if not os.path.islink(self.path):
                return
        aside = draft_of(os.path.join(self._runs, "." + self.run_id))
        os.rename(self.path, aside)
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        os.rename(aside, draft_of(os.path.join(self.path, "obstacle")))

    def make_way(self, path: str) -> None:
        """Move aside what a script has put in the place of a file, if it is none."""
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(os.lstat(path).st_mode):
                os.rename(path, draft_of(path))

    def write_spec(self, spec: Dict[str, Any]) -> None:
        """Store what is to run, whole or not at all; the first writer wins."""
        write_new(self.spec, json.dumps(spec).encode())

    def read_spec(self) -> Dict[str, Any]:
        """What is to run."""
        return dict(json.loads(read_plain(self.spec, 0, _SPEC_BYTES)))

    def write_environment(self, resolved: Dict[str, Any]) -> str:
        """Note what the job runs in, once and for all; the sha256 of the note."""
        content = json.dumps(resolved).encode()
        write_new(self.environment, content)
        return _digest(content)

    def read_environment(self, digest: Optional[str]) -> Optional[Dict[str, Any]]:
        """What the job runs in; None where nothing was built, or a script has spoilt the note."""
        try:
            content = read_from(self.environment, 0, _ENVIRONMENT_BYTES)
        except OSError:
            return None
        return dict(json.loads(content)) if content and _digest(content) == digest else None

    def write_facts(self, facts: Dict[str, Any]) -> None:
        """Leave for the script what is known of its run."""
        write_file(self.facts, json.dumps(facts).encode(), os.O_CREAT | os.O_TRUNC)

    def read_preparation_fault(self) -> Optional[str]:
        """Why the environment could not be built, in the builder's words, if it left any."""
        return read_from(self.preparation_fault, 0, _FAULT_BYTES).decode(errors="replace") or None

    def write_script_fault(self, reason: str) -> None:
        """Leave why the script's end is no fault of its own."""
        write_new(self._script_fault, reason.encode(errors="replace"))

    def read_script_fault(self) -> Optional[str]:
        """What `write_script_fault` left."""
        return read_from(self._script_fault, 0, _FAULT_BYTES).decode(errors="replace") or None

    def write_script_exit(self, code: int) -> None:
        """Leave that an exit code, as a shell would have it, is the script's own.

        Who ends in the script's place does, and leaves none where the code is its own.
        """
        write_new(self._script_exit, str(code).encode())

    def is_script_exit(self, code: int) -> bool:
        """Whether `write_script_exit` left this one."""
        return read_from(self._script_exit, 0, _FAULT_BYTES) == str(code).encode()

    def remove_secrets(self) -> None:
        """Remove what was to be read by the job's processes alone, whoever of them was killed."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            names = os.listdir(self.path)
            drafts = [name for name in names if name.startswith("secrets")]
            for name in (*drafts, *SPARK_SECRETS):
                remove_file(os.path.join(self.path, name))

    def claim(self, state: Dict[str, Any]) -> bool:
        """Become the job's only supervisor, for good; False if it has or had one."""
        # Overwriting blocks that are already ours works on a full disk: the end can be recorded.
        reserve = os.open(self._reserve, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(reserve, 0, _RESERVE_BYTES)
        finally:
            os.close(reserve)
        return write_new(self.state, _encoded(state))

    def read_state(self) -> Optional[Dict[str, Any]]:
        """The job's state, or None where no supervisor has claimed it.

        OSError where the fault is the machine's, and no script's.
        """
        try:
            content = read_plain(self.state, 0, _STATE_BYTES)
        except FileNotFoundError:
            return None
        except (NotADirectoryError, PermissionError):
            if open_up(self._runs):
                return self.read_state()
            if os.lstat(self.path).st_uid != os.geteuid():
                raise
            content = b""
        return read_job_state(content) or {"status": "Preparing", "supervisor": dict(_LOST)}

    def has_state(self) -> bool:
        """Whether the state is a file that can be read, unless a script has seen to it."""
        return size_of(self.state) > 0

    def write_state(self, state: Dict[str, Any]) -> None:
        """Replace the state, whole or not at all."""
        self.create()  # a script may have removed it
        draft = draft_of(self.state)
        try:
            write_file(draft, _encoded(state), os.O_CREAT | os.O_EXCL)
            put_in_place(draft, self.state)
        finally:
            remove_file(draft)

    def write_last_state(self, state: Dict[str, Any]) -> None:
        """Replace the state for good: on a full disk too, and through a power cut."""
        try:
            self.write_state(state)
        except OSError as error:
            content = _encoded(state)
            is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            if not is_full or len(content) > _RESERVE_BYTES:
                raise
            write_file(self._reserve, content.ljust(_RESERVE_BYTES))
            put_in_place(self._reserve, self.state)
        make_lasting(self.state)
        make_lasting(self.path)

    def measure(self) -> Dict[str, int]:
        """How much log and metrics there are, readable again where a script has shut them."""
        with contextlib.suppress(OSError):
            self.create()
        for path in (self.log, self.metrics):
            with contextlib.suppress(OSError):
                mode = os.lstat(path).st_mode
                if stat.S_ISREG(mode) and ~mode & _OWNERS_BITS:
                    os.chmod(path, stat.S_IMODE(mode) | _OWNERS_BITS)
        return {"log_bytes": size_of(self.log), "metrics_bytes": size_of(self.metrics)}

    def hold_life(self) -> bool:
        """Hold, to the end of this process, what shows in every container that it lives.

        False where another process of the job does.
        """
        return file_lock.try_exclusive(self._life) is not None

    def is_life_held(self) -> bool:
        """Whether a process that called `hold_life` lives, on whichever side of a namespace."""
        try:
            descriptor = file_lock.try_shared(self._life)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ELOOP):  # no file, or a script's link
                raise
            return False
        if descriptor is None:
            return True
        os.close(descriptor)
        return False

    def mark_canceled(self) -> None:
        """Ask for the job's end; outlasts every process, and stops a job that has yet to start."""
        self.create()
        if not self.is_marked_canceled():
            self.make_way(self.cancel_mark)
            write_file(self.cancel_mark, b"", os.O_CREAT)

    def is_marked_canceled(self) -> bool:
        """Whether somebody asked for the job's end; only a file says so."""
        try:
            return stat.S_ISREG(os.lstat(self.cancel_mark).st_mode)
        except OSError:
            return False

    def add_to_log(self, line: bytes) -> None:
        """Add a line to the job's log, which may end in the middle of one.

        OSError where a script has put something else in its place.
        """
        last = read_from(self.log, max(0, size_of(self.log) - 1), 1)
        start = b"" if last in (b"", b"\n") else b"\n"
        write_file(self.log, start + line, os.O_CREAT | os.O_APPEND)


def _digest(content: bytes) -> str:
    import hashlib  # noqa: PLC0415  # dear at start-up, for jobs that need no environment

    return hashlib.sha256(content).hexdigest()


def _encoded(state: Dict[str, Any]) -> bytes:
    return json.dumps(state).encode()
