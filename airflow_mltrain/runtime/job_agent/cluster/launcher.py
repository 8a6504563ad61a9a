"""The process that stands for a Spark job whose driver runs on a worker of the cluster.

It has the master put a keeper there (`entry.py`), which calls back and gets the job. It is
the only one to submit, and gives the job to one caller only: an answer of the master's that is
lost may be asked for again, and costs a superfluous keeper that is turned away.
"""

import contextlib
import os
import secrets as randomness
import select
import signal
import socket
import time
from typing import Any, Dict, List, Optional

from ..folder import JobFolder
from ..received_tree import ImpossibleTreeError
from ..secret import read_secrets, take_over
from ..spark.choice import choose_master
from ..spark.command import LaunchError
from ..spark.fact import note_facts
from ..spark.launcher import exit_code_of, note_script_exit, say
from ..spark.master import UNKNOWN, DriverMaster, Invitation, MasterError, UnheardError
from .callback import listen, own_address, take_call
from .delivery import Delivery
from .entry import (
    ALONE_VARIABLE,
    CALL_VARIABLE,
    INSIDE_VARIABLE,
    NAME_VARIABLE,
    TOKEN_VARIABLE,
)
from .line import Line, LineBrokenError, LineFaultError
from .patience import UNHEARD_SECONDS, EndError, Vigil
from .submitted import SubmittedDrivers

_DRIVERS_SECRETS = ("spark", "variables")
_LOOK_SECONDS = 0.2
_SILENCE_SECONDS, _HASTE_SECONDS = 30.0, 8.0  # on a line; once told to stop
_RECALL_SECONDS = 10.0  # of a stop without a line
_COMPLAINT_SECONDS = 60.0


class _StoppedError(Exception):
    """The job was told to stop."""


class _CalledError(Exception):
    """A driver has called while its master was asked."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self.line = line


class ClusterLauncher:
    """Runs the driver of one job on a worker of its cluster, to its end."""

    def __init__(
        self,
        folder: JobFolder,
        told: Dict[str, Any],
        master: DriverMaster,
        delivery: Delivery,
    ) -> None:
        self._folder, self._told = folder, told
        self._master, self._delivery = master, delivery
        self._token = randomness.token_hex(32)
        self._vigil = Vigil(told, master, self._complain)
        self._caller: Optional[str] = None  # the driver that has the job, as it calls itself
        self._drivers = SubmittedDrivers(master, self._vigil, self._complain)
        self._is_stopped, self._is_stop_told, self._stopped_at = False, False, 0.0
        self._next_look = self._complained_at = 0.0

    def run(self) -> int:
        """How the driver ended: its exit code."""
        signal.signal(signal.SIGTERM, self._note_stop)
        try:
            code = self._run()
        finally:
            self._drivers.remove(self._told["driver_grace_seconds"], lambda: self._is_stopped)
        if code != 0 and not self._is_stopped:
            self._save_log()
        return code

    def _run(self) -> int:
        try:
            with self._listen() as listener:
                ended = self._drive(listener)
            return self._end_as(ended)
        except _StoppedError:
            return 128 + signal.SIGTERM
        except (EndError, MasterError, LineFaultError, ImpossibleTreeError) as error:
            self._note_fault(str(error))
            return 1
        except OSError as error:
            self._note_fault("the driver could not be run: {}".format(error))
            return 1

    def _note_stop(self, _number: int, _frame: object) -> None:
        if not self._is_stopped:
            self._is_stopped, self._stopped_at = True, time.monotonic()

    def _listen(self) -> socket.socket:
        ports = self._told["callback_ports"]
        try:
            listener = listen(ports)
        except OSError as error:
            low, high = ports or (0, 0)
            words = "none of `callback_ports` {}-{} can be had here ({}); name more of them"
            raise EndError(words.format(low, high, error)) from None
        listener.settimeout(_LOOK_SECONDS)
        host = self._told["callback_host"] or own_address(self._master.addresses())
        self._vigil.address = "{}:{}".format(host, listener.getsockname()[1])
        return listener

    def _drive(self, listener: socket.socket) -> Dict[str, Any]:
        self._delivery.gather()
        self._submit()
        began = time.monotonic()
        while True:
            self._vigil.begin(began)
            line = self._await_call(listener)
            try:
                return self._follow(line, listener)
            except LineBrokenError as error:
                say("the line to the driver broke ({}); it is to call again".format(error))
                self._next_look, began = 0.0, time.monotonic()
            finally:
                line.close()

    def _submit(self) -> None:
        unheard_since: Optional[float] = None  # a submission may take longer than a silence
        invitation = self._invite()
        while True:
            try:
                self._drivers.is_all_known = False
                found = self._master.submit(invitation, self._check_stop)
            except UnheardError as error:
                self._complain("the master does not answer: {}".format(error))
                unheard_since = unheard_since or time.monotonic()
                if time.monotonic() - unheard_since > UNHEARD_SECONDS:
                    words = "the master does not answer ({}): {}"
                    raise EndError(words.format(error, self._master.remedy)) from None
                self._pause()
            else:
                self._vigil.hear()
                self._drivers.is_all_known = unheard_since is None
                self._drivers.add(found)
                words = "the driver was submitted to {} as {}"
                say(words.format(self._told["master"], found))
                return

    def _invite(self) -> Invitation:
        with open(os.path.join(os.path.dirname(__file__), "entry.py")) as file:
            program = file.read()
        variables = {
            CALL_VARIABLE: self._vigil.address,
            TOKEN_VARIABLE: self._token,
            ALONE_VARIABLE: str(self._told["driver_alone_seconds"]),
        }
        if self._master.driver_is_java:
            variables[INSIDE_VARIABLE] = "yes"
        return Invitation(program, variables, NAME_VARIABLE)

    def _await_call(self, listener: socket.socket) -> Line:
        """The line to the driver that has the job, when it calls."""
        while True:
            if self._is_stopped and self._has_awaited_call():
                raise _StoppedError
            line = self._take_call(listener)
            if line is not None:
                return line
            if time.monotonic() >= self._next_look:
                try:
                    self._look_at_driver(listener)
                except _CalledError as called:
                    return called.line
                self._next_look = time.monotonic() + self._master.pause_seconds
                self._vigil.judge()

    def _has_awaited_call(self) -> bool:
        """Whether a driver that is to stop has had its time to call, and to be told."""
        patience = _RECALL_SECONDS
        if self._is_stop_told:
            patience += self._told["driver_grace_seconds"]
        return not self._vigil.may_live or time.monotonic() - self._stopped_at > patience

    def _take_call(self, listener: socket.socket) -> Optional[Line]:
        try:
            connection, _ = listener.accept()
        except socket.timeout:
            return None
        taken = take_call(
            connection,
            self._token,
            lambda one: self._caller in (None, one),
            lambda: _HASTE_SECONDS if self._is_stopped else _SILENCE_SECONDS,
        )
        if taken is None:
            return None
        caller, line = taken
        if self._caller is None:
            self._welcome(caller)
        return line

    def _welcome(self, caller: str) -> None:
        self._caller, driver = caller, self._master.id_of(caller)
        self._vigil.has_called = True
        self._drivers.choose(driver)
        say("the driver runs as {}".format(driver))
        note_facts(self._folder.metrics, self._master.facts(driver))

    def _look_at_driver(self, listener: socket.socket) -> None:
        """Ask the master, unless a driver calls meanwhile, or the job is to end."""

        def check() -> None:
            line = self._take_call(listener) if _is_called(listener) else None
            if line is not None:
                raise _CalledError(line)
            if self._is_stopped and self._has_awaited_call():
                raise _StoppedError

        try:
            found = self._master.status(self._drivers.likeliest, check)
        except UnheardError as error:
            self._complain("the master does not answer: {}".format(error))
            return
        # One that started anew without a memory knows nothing of what it once put on a worker.
        self._vigil.note(found or UNKNOWN)

    def _follow(self, line: Line, listener: socket.socket) -> Dict[str, Any]:
        """Give the driver its job unless it has it, and take what comes, to its end."""
        self._delivery.send_files(line, self._check_stop)
        self._vigil.may_live = True
        if not self._delivery.lay_down(line):
            raise EndError("the driver lacks what was sent to it")
        while True:
            if _is_called(listener):
                self._turn_away(listener)
            if self._is_stopped and not self._is_stop_told:
                self._delivery.cancel(line)
                self._is_stop_told = True
            state = self._delivery.observe(line)
            if state is not None and self._delivery.is_whole(state):
                self._vigil.may_live = False
                self._delivery.fetch(line)
                self._dismiss(line)
                return state

    def _check_stop(self) -> None:
        if self._is_stopped and not self._vigil.may_live:
            raise _StoppedError

    def _dismiss(self, line: Line) -> None:
        """Have what was fetched removed there; where no answer comes, the driver is removed."""
        with contextlib.suppress(LineBrokenError, LineFaultError):
            self._delivery.discard(line)
            if not self._is_stopped:
                self._drivers.let_go()

    def _turn_away(self, listener: socket.socket) -> None:
        """Tell a superfluous driver so; the one that has the job calls again, if it does."""
        line = self._take_call(listener)
        if line is not None:
            line.close()

    def _end_as(self, ended: Dict[str, Any]) -> int:
        code = int(ended.get("exit_code") or 0)
        if "exit_code" in ended:
            note_script_exit(self._folder, code)
        if ended["status"] == "Canceled":
            return code if "exit_code" in ended else 128 + signal.SIGTERM
        reason = str(ended.get("reason") or "")
        if ended["status"] == "Completed":
            return 0
        words = "exit code {}".format(code)
        if reason.startswith(words):
            reason = reason[len(words) :].lstrip(": ")
        if reason:
            with contextlib.suppress(OSError):  # the driver said it in the log
                self._folder.write_script_fault(reason)
        return code or 1

    def _save_log(self) -> None:
        if not self._drivers.names:
            return
        os.makedirs(self._folder.watched_logs, exist_ok=True)
        path = os.path.join(self._folder.watched_logs, "spark.log")
        with contextlib.suppress(OSError, UnheardError, MasterError):
            words = self._master.save_log(self._drivers.likeliest, path)
            if words:
                say(words)

    def _pause(self) -> None:
        deadline = time.monotonic() + self._master.pause_seconds
        while time.monotonic() < deadline:
            if self._is_stopped:
                raise _StoppedError
            time.sleep(_LOOK_SECONDS)

    def _complain(self, words: str) -> None:
        if time.monotonic() - self._complained_at >= _COMPLAINT_SECONDS:
            self._complained_at = time.monotonic()
            say(words)

    def _note_fault(self, reason: str) -> None:
        say(reason)
        with contextlib.suppress(OSError):
            self._folder.write_script_fault(reason)


def _is_called(listener: socket.socket) -> bool:
    return bool(select.select([listener], [], [], 0)[0])


def main(argv: List[str]) -> None:
    """Run the driver of a job on its cluster, as `spark.launcher.main` does on this machine."""
    root, run_id, tree = argv
    content = take_over()
    secrets = {purpose: read_secrets(content, purpose) for purpose in _DRIVERS_SECRETS}
    folder = JobFolder(root, run_id)
    spec = folder.read_spec()
    try:
        master = choose_master(folder, spec["spark"], secrets["spark"])
    except LaunchError as error:
        say(str(error))
        folder.write_script_fault(str(error))
        os._exit(exit_code_of(error, folder))
    delivery = Delivery(folder, spec, secrets, tree or None, is_inside=master.driver_is_java)
    try:
        code = ClusterLauncher(folder, spec["spark"], master, delivery).run()
    finally:
        master.close()
    os._exit(code)
