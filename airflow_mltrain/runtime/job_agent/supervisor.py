"""The one process that runs a job: it prepares, waits for a slot, runs, watches and records."""

import contextlib
import os
import select
import signal
import sys
import time
from typing import Any, Dict, List, Optional, Tuple

from . import process, slot
from .burial import bury_if_dead
from .checkout import check_out
from .folder import JobFolder, read_from, size_of
from .script import SpawnError, spawn

_LEFTOVER_GRACE_SECONDS = 5.0
_LOOK_SECONDS = 1.0
_BURIAL_LOOKS, _BURIAL_LOOK_SECONDS = 100, 0.1
_REASON_CHARACTERS = 4000


class _Stop(Exception):  # noqa: N818  # a decision, not an error
    """The job has to end before its script does; `status` and `reason` say how it is recorded."""

    def __init__(self, status: str, reason: Optional[str]) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Supervisor:
    """Runs the job of one folder, once."""

    def __init__(self, folder: JobFolder) -> None:
        self._folder = folder
        self._state: Dict[str, Any] = {"status": "Preparing", "supervisor": process.identity()}
        self._spec: Dict[str, Any] = {}
        self._turn = "{:020d}-{}".format(time.monotonic_ns(), folder.run_id)
        self._script: Optional[int] = None
        self._wait_status: Optional[int] = None
        self._is_terminated = False
        self._wakeup, wakeup_end = os.pipe()
        for descriptor in (self._wakeup, wakeup_end):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(wakeup_end, warn_on_full_buffer=False)
        for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
            if signal.getsignal(number) == signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)  # what the starter ignored, scripts would
        # Handlers and not SIG_IGN, which the script would inherit.
        for number in (signal.SIGCHLD, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGTERM, self._remember_termination)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

    def claim(self) -> bool:
        """Become this job's supervisor; False if it has or had one."""
        return self._folder.claim(self._state)

    def run(self) -> None:
        """Take the job from its claim to its recorded end."""
        try:
            self._spec = self._folder.read_spec()
            self._prepare()
            held_slot = self._wait_for_slot()  # noqa: F841  # freed by the end of this process
            wait_status = self._run_script()
            self._record("Finalizing")
            self._end_leftovers()
            self._record_end(*self._outcome(wait_status))
        except _Stop as stop:
            if stop.status == "Canceled":
                self._record("CancelRequested")
            self._end_processes(float(self._spec["cancel_grace_seconds"]))
            self._record_end(stop.status, stop.reason)
        except Exception:  # noqa: BLE001  # whatever it is, the job has to end
            import traceback  # noqa: PLC0415  # dear at start-up, and hardly ever needed

            self._end_processes(0)
            self._record_end("Failed", "the job agent failed:\n" + traceback.format_exc())

    def _prepare(self) -> None:
        self._check_stop()
        snapshot_id = self._spec["snapshot_id"]
        manifest = os.path.join(self._folder.blobs, snapshot_id[:2], snapshot_id)
        try:
            with open(manifest, "rb") as file:
                check_out(file.read(), self._folder.blobs, self._folder.code)
            for made in (self._folder.outputs, self._folder.watched_logs):
                os.makedirs(made, exist_ok=True)
        except (OSError, ValueError) as error:
            raise _Stop("Failed", "preparation failed: {}".format(error)) from None

    def _wait_for_slot(self) -> Optional[slot.Slot]:
        self._check_stop()
        count = self._spec["max_concurrent_runs"]
        if count is None:
            return None
        self._record("Queued")
        held = slot.acquire(
            self._folder.slots, count, self._turn, self._is_stop_asked, self._sleep
        )
        if held is not None:
            self._clear(held)
        self._check_stop()
        return held

    def _clear(self, held: slot.Slot) -> None:
        """Stop what a killed job may have left running in this slot."""
        previous = held.last_holder()
        if previous is not None:
            folder = JobFolder(self._folder.root, previous)
            for _ in range(_BURIAL_LOOKS):
                if self._is_stop_asked() or bury_if_dead(folder):
                    break
                self._sleep(_BURIAL_LOOK_SECONDS)
        held.occupy(self._folder.run_id)

    def _run_script(self) -> int:
        self._state["oom_kills_before"] = process.out_of_memory_kills()
        self._check_stop()
        try:
            self._script = spawn(self._folder, self._spec)
        except SpawnError as error:
            self._state["exit_code"] = error.exit_code
            raise _Stop("Failed", str(error)) from None
        limit = self._spec["max_run_duration_seconds"]
        deadline = None if limit is None else time.monotonic() + limit
        self._state["started_at"] = time.time()
        self._record("Running")
        while True:
            self._reap()
            if self._wait_status is not None:
                return self._wait_status
            self._check_stop()
            self._restore_state()
            remaining = _LOOK_SECONDS if deadline is None else deadline - time.monotonic()
            if remaining <= 0:
                reason = "it ran longer than max_run_duration_seconds = {}".format(limit)
                raise _Stop("Failed", reason)
            self._sleep(min(remaining, _LOOK_SECONDS))

    def _outcome(self, wait_status: int) -> Tuple[str, Optional[str]]:
        if os.WIFSIGNALED(wait_status):
            number = os.WTERMSIG(wait_status)
            return "Failed", "killed by {}{}".format(_signal_name(number), self._suspicion(number))
        code = os.WEXITSTATUS(wait_status)
        return ("Completed", None) if code == 0 else ("Failed", "exit code {}".format(code))

    def _suspicion(self, number: int) -> str:
        if number != signal.SIGKILL:
            return ""
        before, after = self._state["oom_kills_before"], process.out_of_memory_kills()
        return ": out of memory" if 0 <= before < after else ""

    def _end_leftovers(self) -> None:
        leftovers = self._job_processes()
        if leftovers:
            words = "the script has ended; stopping {} of its processes that still ran"
            self._say(words.format(len(leftovers)))
        self._end_processes(_LEFTOVER_GRACE_SECONDS)

    def _end_processes(self, grace_seconds: float) -> None:
        if self._reap():  # as the reaper of its orphans it is childless only when all are gone
            process.stop_all(self._job_processes, grace_seconds, self._sleep)

    def _job_processes(self) -> List[process.Process]:
        if not self._reap():
            return []
        return process.processes_of(self._folder.run_id, ancestor=os.getpid())

    def _check_stop(self) -> None:
        if self._folder.is_marked_canceled():
            raise _Stop("Canceled", None)
        if self._is_terminated:
            reason = "the job's supervisor was told to stop (SIGTERM): was the host shut down?"
            raise _Stop("Failed", reason)

    def _is_stop_asked(self) -> bool:
        return self._is_terminated or self._folder.is_marked_canceled()

    def _restore_state(self) -> None:
        if not os.path.exists(self._folder.state):  # the script may have removed the whole folder
            self._record(self._state["status"])

    def _record(self, status: str) -> None:
        self._state["status"] = status
        try:
            self._folder.write_state(self._state)
        except OSError as error:  # a later state says more; only the end must be recorded
            _complain("status {} was not recorded: {}".format(status, error))

    def _record_end(self, status: str, reason: Optional[str]) -> None:
        self._state.update(
            status=status,
            reason=reason and reason[:_REASON_CHARACTERS],
            ended_at=time.time(),
            log_bytes=size_of(self._folder.log),
            metrics_bytes=size_of(self._folder.metrics),
        )
        while not self._is_end_written():
            time.sleep(_LOOK_SECONDS)

    def _is_end_written(self) -> bool:
        try:
            self._folder.write_last_state(self._state)
        except OSError as error:
            _complain("the end was not recorded yet: {}".format(error))
            return False
        return True

    def _say(self, words: str) -> None:
        """Add a line to the job's log, which may end in the middle of one."""
        last = read_from(self._folder.log, max(0, size_of(self._folder.log) - 1), 1)
        start = b"" if last in (b"", b"\n") else b"\n"
        try:
            with open(self._folder.log, "ab") as log:
                log.write(start + "[mltrain] {}\n".format(words).encode())
        except OSError as error:
            _complain("{} ({})".format(words, error))

    def _reap(self) -> bool:
        """Take note of ended children; whether any child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._script:
                self._wait_status = status
                is_signal = os.WIFSIGNALED(status)
                self._state["exit_code"] = (
                    128 + os.WTERMSIG(status) if is_signal else os.WEXITSTATUS(status)
                )

    def _sleep(self, seconds: float) -> None:
        """Sleep, until a signal arrives."""
        if select.select([self._wakeup], [], [], seconds)[0]:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wakeup, 4096)

    def _remember_termination(self, _signal_number: int, _frame: object) -> None:
        self._is_terminated = True


def _complain(words: str) -> None:
    with contextlib.suppress(OSError):  # the disk may be full, which is what it would say
        os.write(2, words.encode(errors="replace") + b"\n")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "signal {}".format(number)


def main(argv: List[str]) -> None:
    """Supervise the job of `argv`: root, run id, and a descriptor to write to once it is claimed.

    Returns at once in the calling process; a detached child goes on.
    """
    root, run_id, ready = argv[0], argv[1], int(argv[2])
    if os.fork():
        os._exit(0)
    process.adopt_orphans()
    supervisor = Supervisor(JobFolder(root, run_id))
    claimed = supervisor.claim()
    with contextlib.suppress(BrokenPipeError):  # the starter may be gone; the job is not
        os.write(ready, b".")  # closing alone is not seen where the starter forked meanwhile
    os.close(ready)
    if claimed:
        supervisor.run()


if __name__ == "__main__":
    main(sys.argv[1:])
