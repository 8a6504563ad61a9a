"""The one process that runs a job: it prepares, waits for a slot, runs, watches and records."""

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional

from . import process
from .attendance import Attendance
from .checkout import DamagedBlobError, check_out
from .children import Children
from .folder import JobFolder
from .outcome import Outcome
from .script import SpawnError, spawn
from .script_user import ScriptUser
from .secret import take_over
from .spare import Spares, leave_spare

if TYPE_CHECKING:
    from .environment.preparation import EnvironmentPreparation
    from .turn import Turn

_LEFTOVER_GRACE_SECONDS = 5.0
_LOOK_SECONDS = 1.0
_REASON_CHARACTERS = 4000
_CHECKOUT_PROCESSES = 4


class _Stop(Exception):  # noqa: N818  # a decision, not an error
    """The job has to end before its script does; `status` and `reason` say how it is recorded.

    `limit` is the name of one in its spec, where that is why.
    """

    def __init__(self, status: str, reason: Optional[str], limit: Optional[str] = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.limit = limit


class Supervisor:
    """Runs the job of one folder, once."""

    def __init__(
        self,
        folder: JobFolder,
        secrets: bytes,
        script_user: Optional[ScriptUser] = None,
        facts: Optional[Dict[str, Any]] = None,
    ) -> None:
        self._folder = folder
        self._secrets = secrets  # as `secret.hand_over` gave them
        self._script_user = script_user  # None: the one who runs this
        supervisor = dict(process.identity(), **(facts or {}))
        self._is_contained = bool(supervisor.get("is_contained"))
        self._state: Dict[str, Any] = {"status": "Preparing", "supervisor": supervisor}
        self._spec: Dict[str, Any] = {}
        self._attendance: Optional[Attendance] = None  # None: it may be left alone
        self._script: Optional[int] = None
        self._is_laid_out = False
        self._environment: "Optional[EnvironmentPreparation]" = None
        self._turn: "Optional[Turn]" = None
        self._children = Children()

    def claim(self) -> bool:
        """Become this job's supervisor; False if it has or had one."""
        return self._folder.claim(self._state)

    @property
    def exit_code(self) -> int:
        """What the job's end comes down to, as a shell would have it; 0 until there is one."""
        return int(self._state.get("exit_code") or (self._state["status"] == "Failed"))

    def run(self) -> None:
        """Take the job from its claim to its recorded end."""
        try:
            self._spec = self._folder.read_spec()
            self._expect_attendance()
            self._take_place()
            self._prepare()
            self._prepare_environment()
            self._wait_for_turn()
            wait_status = self._run_script()
            self._record("Finalizing")
            self._end_leftovers()
            self._record_end(*self._outcome().explain(wait_status))
        except _Stop as stop:
            if stop.status == "Canceled":
                self._record("CancelRequested")
            self._end_processes(float(self._spec["cancel_grace_seconds"]))
            self._remove_half_built()
            if stop.limit is not None:
                self._state["limit"] = stop.limit
            self._record_end(stop.status, stop.reason)
        except Exception:  # noqa: BLE001  # whatever it is, the job has to end
            import traceback  # noqa: PLC0415  # dear at start-up, and hardly ever needed

            is_script_over = self._script_status() is not None  # or else it ends by this
            self._end_processes(0)
            reason = "the job agent failed:\n" + traceback.format_exc()
            self._record_end("Failed", reason, has_script_exit=is_script_over)

    def leave_spare(self) -> None:
        """Lay the code out once more when the job has ended, for the next with much the same."""
        if self._turn is not None:
            self._turn.free()
        if self._is_laid_out:
            why = leave_spare(self._folder.root, self._spec["snapshot_id"])
            if why is not None:
                _complain(why)

    def _expect_attendance(self) -> None:
        """Have those who ask after the job leave a mark, where it is not to go on without any."""
        lease_seconds = self._spec.get("lease_seconds")
        if lease_seconds is not None:
            self._attendance = Attendance(self._folder.attendance_mark, lease_seconds)
            self._state["lease_seconds"] = lease_seconds
            self._record(self._state["status"])

    def _take_place(self) -> None:
        """Stand in line from now on, where the job shares its machine."""
        count, gpus = self._spec["max_concurrent_runs"], self._spec["gpus"]
        if count is not None or gpus is not None:
            from .turn import Turn  # noqa: PLC0415  # most jobs need none

            stop, sleep = self._is_stop_asked, self._children.sleep
            self._turn = Turn(self._folder, count, gpus, stop, sleep)

    def _prepare(self) -> None:
        self._check_stop()
        snapshot_id = self._spec["snapshot_id"]
        manifest = os.path.join(self._folder.blobs, snapshot_id[:2], snapshot_id)
        try:
            with open(manifest, "rb") as file:
                content = file.read()
            if not Spares(self._folder.root).take(content, self._folder.code):
                processes = min(os.cpu_count() or 1, _CHECKOUT_PROCESSES)
                check_out(content, self._folder.blobs, self._folder.code, processes)
            self._is_laid_out = True
            for made in (self._folder.outputs, self._folder.watched_logs):
                os.makedirs(made, exist_ok=True)
            if self._spec.get("previous_outputs") is not None:
                from .previous_outputs import lay_out  # noqa: PLC0415  # most jobs begin anew

                lay_out(self._folder, self._spec["previous_outputs"])
            if self._script_user is not None:
                self._script_user.own(self._folder)
        except DamagedBlobError as error:
            os.unlink(error.path)  # whoever submits again brings it
            words = "preparation failed: {}; it was removed, submit again".format(error)
            raise _Stop("Failed", words) from None
        except (OSError, ValueError) as error:
            raise _Stop("Failed", "preparation failed: {}".format(error)) from None

    def _prepare_environment(self) -> None:
        """Have the environment that the job asks for, and leave word of what it is."""
        packed = (self._spec["spark"] or {}).get("archive")
        if self._spec["environment"] is None and packed is None:
            return
        from .environment.preparation import (  # noqa: PLC0415  # many jobs need none
            EnvironmentPreparation,
            PreparationError,
        )

        self._environment = EnvironmentPreparation(
            self._folder, self._spec, self._secrets, self._run_preparation
        )
        try:
            resolved = self._environment.take()
            if resolved is not None:
                self._state["environment_digest"] = self._folder.write_environment(resolved)
                self._state["environment_key"] = resolved["key"]
            self._environment.pack(self._say)
        except (OSError, PreparationError, SpawnError) as error:
            raise _Stop("Failed", "preparation failed: {}".format(error)) from None

    def _run_preparation(
        self, begin: Callable[[], int], deadline: Optional[float], reason: str
    ) -> None:
        """Have a child do what the script cannot begin without; `begin` returns its pid."""
        self._state["oom_kills_before"] = process.out_of_memory_kills()
        self._check_stop()
        wait_status = self._await(begin(), deadline, reason)
        if wait_status != 0:
            _, outcome = self._outcome().explain(wait_status)
            why = self._folder.read_preparation_fault() or "its builder: {}".format(outcome)
            raise _Stop("Failed", "preparation failed: {}".format(why))

    def _remove_half_built(self) -> None:
        if self._environment is not None:
            try:
                self._environment.remove_half_built()
            except OSError as error:  # whoever builds next removes it
                _complain("what was half built is still there: {}".format(error))

    def _wait_for_turn(self) -> None:
        """Have a slot and the cards that the job asks for."""
        self._check_stop()
        if self._turn is None:
            return
        from .turn import TooFewCardsError  # noqa: PLC0415  # loaded by now

        self._record("Queued")
        try:
            self._turn.wait()
        except TooFewCardsError as error:
            raise _Stop("Failed", str(error)) from None
        self._check_stop()
        if self._turn.visible_cards is not None:
            variables = self._spec["environment_variables"]
            variables["CUDA_VISIBLE_DEVICES"] = self._turn.visible_cards

    def _run_script(self) -> int:
        self._state["oom_kills_before"] = process.out_of_memory_kills()
        self._check_stop()
        self._state["started_at"] = time.time()
        self._leave_facts()
        self._record("Running")  # before it prints anything, so that nobody sees that first
        try:
            tree = None if self._environment is None else self._environment.tree
            self._script = spawn(self._folder, self._spec, tree, self._script_user, self._secrets)
        except SpawnError as error:
            del self._state["started_at"]
            self._state["exit_code"] = error.exit_code
            raise _Stop("Failed", str(error)) from None
        limit = self._spec["max_run_duration_seconds"]
        deadline = None if limit is None else time.monotonic() + limit
        reason = "it ran longer than max_run_duration_seconds = {}".format(limit)
        return self._await(self._script, deadline, reason, "max_run_duration_seconds")

    def _leave_facts(self) -> None:
        """Let the script know what is known of its run; it can do without."""
        facts = dict(self._spec.get("facts") or {}, started_at=self._state["started_at"])
        try:
            self._folder.write_facts(facts)
            if self._script_user is not None:
                self._script_user.own_file(self._folder.facts)
        except OSError as error:
            _complain("the facts of the run were not left for its script: {}".format(error))

    def _await(
        self, child: int, deadline: Optional[float], reason: str, limit: Optional[str] = None
    ) -> int:
        """The child's wait status; it has to stop for `reason` if it is not over in time."""
        self._children.watch(child)
        while True:
            self._children.reap()
            wait_status = self._children.wait_status(child)
            if wait_status is not None:
                return wait_status
            self._check_stop()
            self._restore_state()
            remaining = _LOOK_SECONDS if deadline is None else deadline - time.monotonic()
            if remaining <= 0:
                raise _Stop("Failed", reason, limit)
            self._children.sleep(min(remaining, _LOOK_SECONDS))

    def _outcome(self) -> Outcome:
        return Outcome(self._folder, self._spec, self._state)

    def _end_leftovers(self) -> None:
        leftovers = self._job_processes()
        if leftovers:
            words = "the script has ended; stopping {} of its processes that still ran"
            self._say(words.format(len(leftovers)))
        self._end_processes(_LEFTOVER_GRACE_SECONDS)

    def _end_processes(self, grace_seconds: float) -> None:
        # As the reaper of its orphans it is childless only when all are gone.
        if self._children.reap():
            process.stop_all(self._job_processes, grace_seconds, self._children.sleep)

    def _job_processes(self) -> List[process.Process]:
        if not self._children.reap():
            return []
        return process.processes_of(self._folder.run_id, ancestor=os.getpid())

    def _check_stop(self) -> None:
        if self._folder.is_marked_canceled():
            raise _Stop("Canceled", None)
        if self._children.is_terminated:
            what = "container, or its engine, stopped" if self._is_contained else "host shut down"
            reason = "the job's supervisor was told to stop (SIGTERM): was the {}?".format(what)
            raise _Stop("Failed", reason)
        if self._is_left_alone():
            limit = self._spec["lease_seconds"]
            self._say(
                "nobody has asked after this run for {} seconds: it is stopped".format(limit)
            )
            reason = "nobody watched it for lease_seconds = {}, so it stopped itself".format(limit)
            raise _Stop("Failed", reason, "lease_seconds")

    def _is_stop_asked(self) -> bool:
        is_told = self._children.is_terminated or self._folder.is_marked_canceled()
        return is_told or self._is_left_alone()

    def _is_left_alone(self) -> bool:
        return self._attendance is not None and self._attendance.is_over()

    def _restore_state(self) -> None:
        if not self._folder.has_state():  # the script may have removed the whole folder
            self._record(self._state["status"])

    def _record(self, status: str) -> None:
        self._state["status"] = status
        try:
            self._folder.write_state(self._state)
        except OSError as error:  # a later state says more; only the end must be recorded
            _complain("status {} was not recorded: {}".format(status, error))

    def _script_status(self) -> Optional[int]:
        return self._children.wait_status(self._script or 0)

    def _record_end(
        self, status: str, reason: Optional[str], *, has_script_exit: bool = True
    ) -> None:
        wait_status = self._script_status()
        if wait_status is not None and has_script_exit:
            exit_code = self._outcome().exit_code(wait_status)
            if exit_code is not None:
                self._state["exit_code"] = exit_code
        self._state.update(
            status=status,
            reason=reason and reason[:_REASON_CHARACTERS],
            ended_at=time.time(),
            **self._folder.measure(),
        )
        self._folder.remove_secrets()
        if self._environment is not None:
            self._environment.release()  # whoever sees the end may remove it
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
        """Add a line to the job's log."""
        try:
            self._folder.add_to_log("[mltrain] {}\n".format(words).encode())
        except OSError as error:
            _complain("{} ({})".format(words, error))


def _complain(words: str) -> None:
    with contextlib.suppress(OSError):  # the disk may be full, which is what it would say
        os.write(2, words.encode(errors="replace") + b"\n")


def main(argv: List[str]) -> None:
    """Supervise the job of `argv`: root, run id, and a descriptor to write to once it is claimed.

    Returns at once in the calling process; a detached child goes on.
    """
    root, run_id, ready = argv[0], argv[1], int(argv[2])
    if os.fork():
        os._exit(0)
    process.adopt_orphans()
    supervisor = Supervisor(JobFolder(root, run_id), take_over())
    claimed = supervisor.claim()
    with contextlib.suppress(BrokenPipeError):  # the starter may be gone; the job is not
        os.write(ready, b".")  # closing alone is not seen where the starter forked meanwhile
    os.close(ready)
    if claimed:
        supervisor.run()
        supervisor.leave_spare()


if __name__ == "__main__":
    main(sys.argv[1:])
