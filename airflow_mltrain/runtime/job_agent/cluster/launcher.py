"""The process that stands for a Spark job whose driver runs on a worker of the cluster.

It has the master put a keeper there (`entry.py`), which calls back and gets the job. It is
the only one to submit, and gives the job to one caller only: an answer of the master's that is
lost may be asked for again, and costs a superfluous keeper that is turned away.
"""

import contextlib
import os
import secrets as randomness
import select
import shutil
import signal
import socket
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

from ..blobs import snapshots_of
from ..checkout import blobs_of
from ..environment import archive
from ..folder import TERMINAL, JobFolder
from ..received_tree import ImpossibleTreeError, ReceivedTree
from ..secret import read_secrets, take_over
from ..shipment import blob_parts, in_parts
from ..spark.cluster import Cluster, in_mebibytes
from ..spark.gateway import DriverStatus, Gateway, GatewayError, UnheardError
from ..spark.launcher import say
from .callback import listen, own_address, take_call
from .entry import (
    ALONE_VARIABLE,
    CALL_VARIABLE,
    CONNECT_SECONDS,
    HANDSHAKE_SECONDS,
    SILENCE_SECONDS,
    TOKEN_VARIABLE,
)
from .line import Line, LineBrokenError, LineFaultError

DRIVER_MEMORY, DRIVER_CORES = "1g", 1  # as Spark has it where nothing is said
_DRIVERS_SECRETS = ("spark", "variables")
_LOOK_SECONDS, _STATUS_SECONDS, _OBSERVE_SECONDS = 0.2, 2.0, 0.5
_UNHEARD_SECONDS = 600.0  # a master that does not answer may come back
_CALL_SECONDS = 60.0  # from the moment that the driver runs
_LOST_SECONDS = 10.0  # a driver that has ended may still be about to call
_GUESSES = ("ERROR", "UNKNOWN", "LOST")  # the worker did not say so: the driver may live
_SILENCE_SECONDS, _HASTE_SECONDS = 30.0, 8.0  # on a line; once told to stop
_HOPELESS_SECONDS = 30.0
_RECALL_SECONDS, _REMOVAL_SECONDS = 10.0, 15.0  # of a stop without a line
_COMPLAINT_SECONDS = 60.0
# The Java beside the keeper does nothing but wait for it.
_IDLE_JAVA = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xms16m"


class _EndError(Exception):
    """The driver will not get any further; its text is why."""


class _StoppedError(Exception):
    """The job was told to stop."""


def longest_life(alone_seconds: float, grace_seconds: float) -> float:
    """How many seconds a driver can live that its submitter does not hear of any more.

    Its keeper finds the line broken, is alone, makes a last call, and gives the script its grace.
    """
    last_call = CONNECT_SECONDS + HANDSHAKE_SECONDS
    return SILENCE_SECONDS + alone_seconds + last_call + grace_seconds + _LOST_SECONDS


class ClusterLauncher:
    """Runs the driver of one job on a worker of its cluster, to its end."""

    def __init__(self, folder: JobFolder, tree: Optional[str], secrets: Dict[str, Any]) -> None:
        self._folder = folder
        self._tree, self._secrets = tree, secrets
        self._spec = folder.read_spec()
        self._told: Dict[str, Any] = self._spec["spark"]
        self._gateway = Gateway([(host, port) for host, port in self._told["gateway"]])
        self._cluster = Cluster(self._told["master"], self._told["master_pages"])
        self._token = randomness.token_hex(32)
        self._driver: Optional[str] = None  # the one that has the job
        self._may_live = False  # what the driver runs, which only its keeper knows for sure
        self._over_since: Optional[float] = None  # as the master has it
        self._dismissed: Optional[str] = None
        self._archive: Optional[str] = None  # the digest of the packed environment
        self._submissions: List[str] = []
        self._job_id = folder.run_id + ".driver"  # told apart from this one on a shared machine
        self._seen: Dict[str, Any] = {
            "status": "NotStarted",
            "log": 0,
            "metrics": 0,
            "environment_key": None,
        }
        self._is_stopped, self._is_stop_told, self._stopped_at = False, False, 0.0
        self._status: Optional[DriverStatus] = None
        self._next_look = self._complained_at = 0.0
        self._master_heard_at = time.monotonic()

    def run(self) -> int:
        """How the driver ended: its exit code."""
        signal.signal(signal.SIGTERM, self._note_stop)
        try:
            with self._listen() as listener:
                ended = self._drive(listener)
            return self._end_as(ended)
        except _StoppedError:
            return 128 + signal.SIGTERM
        except (_EndError, GatewayError, LineFaultError, ImpossibleTreeError) as error:
            self._note_fault(str(error))
            return 1
        except OSError as error:
            self._note_fault("the driver could not be run: {}".format(error))
            return 1
        finally:
            self._remove_drivers()

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
            raise _EndError(words.format(low, high, error)) from None
        listener.settimeout(_LOOK_SECONDS)
        host = self._told["callback_host"] or own_address(self._told["gateway"])
        self._address = "{}:{}".format(host, listener.getsockname()[1])
        return listener

    def _drive(self, listener: socket.socket) -> Dict[str, Any]:
        self._blobs = self._find_blobs()  # beforehand: a driver takes a long silence for the end
        self._submit()
        began = time.monotonic()
        while True:
            line = self._await_call(listener, began)
            try:
                return self._follow(line, listener)
            except LineBrokenError as error:
                say("the line to the driver broke ({}); it is to call again".format(error))
                self._status, self._next_look, began = None, 0.0, time.monotonic()
            finally:
                line.close()

    def _submit(self) -> None:
        began = time.monotonic()
        while True:
            try:
                found = self._create()
            except UnheardError as error:
                self._complain("the master's REST gateway does not answer: {}".format(error))
                if time.monotonic() - began > _UNHEARD_SECONDS:
                    words = (
                        "the master's REST gateway does not answer ({}): see that "
                        "spark.master.rest.enabled is true there, and name its address as "
                        "`master_gateway` in the compute target's settings"
                    )
                    raise _EndError(words.format(error)) from None
                self._sleep()
            else:
                self._submissions.append(found)
                words = "the driver was submitted to {} as {}"
                say(words.format(self._told["master"], found))
                return

    def _create(self) -> str:
        told, demand = self._told, _Demand(self._told)
        with open(os.path.join(os.path.dirname(__file__), "entry.py")) as file:
            program = file.read()
        properties = {
            "spark.master": told["master"],
            "spark.app.name": self._folder.run_id,
            "spark.submit.deployMode": "cluster",
            "spark.driver.memory": demand.memory,
            "spark.driver.cores": str(demand.cores),
            "spark.driver.supervise": "false",
            "spark.driver.extraJavaOptions": _IDLE_JAVA,
        }
        variables = {
            CALL_VARIABLE: self._address,
            TOKEN_VARIABLE: self._token,
            ALONE_VARIABLE: str(told["driver_alone_seconds"]),
        }
        version = self._gateway.version()
        python = told["worker_python"]
        return self._gateway.create(program, python, variables, properties, version)

    def _await_call(self, listener: socket.socket, began: float) -> Line:
        """The line to the driver that has the job, when it calls."""
        wait = _Wait(began)
        self._over_since = None
        while True:
            if self._is_stopped and self._has_awaited_call():
                raise _StoppedError
            line = self._take_call(listener)
            if line is not None:
                return line
            if time.monotonic() >= self._next_look:
                self._next_look = time.monotonic() + _STATUS_SECONDS
                self._look_at_driver()
                self._judge_silence(wait.seconds_since("began"))
                if self._status is not None:
                    self._judge(self._status, wait)

    def _has_awaited_call(self) -> bool:
        """Whether a driver that is to stop has had its time to call, and to be told."""
        patience = _RECALL_SECONDS
        if self._is_stop_told:
            patience += self._told["driver_grace_seconds"]
        return not self._may_live or time.monotonic() - self._stopped_at > patience

    def _judge_silence(self, seconds: float) -> None:
        """Give up a driver that was not heard of for so long, whatever its master says."""
        told = self._told
        if self._driver is not None:
            if seconds > longest_life(told["driver_alone_seconds"], told["driver_grace_seconds"]):
                self._may_live = False
                raise _EndError(self._obituary(self._status))
        elif time.monotonic() - self._master_heard_at > _UNHEARD_SECONDS:
            words = "the master does not answer since {:.0f} s, and no driver has called {}"
            raise _EndError(words.format(_UNHEARD_SECONDS, self._address))

    def _judge(self, status: DriverStatus, wait: "_Wait") -> None:
        """Give up a driver that will not call."""
        if status.is_over:
            if self._has_ended(status):
                self._may_live = False
                raise _EndError(self._obituary(status))
        elif self._driver is not None:
            return
        elif status.state == "RUNNING":
            if wait.seconds_since("runs") > _CALL_SECONDS:
                raise _EndError(self._no_call(status))
        else:
            self._look_for_room(wait.seconds_since("began"))

    def _has_ended(self, status: DriverStatus) -> bool:
        """Whether what the driver runs has surely ended too, and no call of it is on its way.

        What the master has done with is the Java beside it; the script has its grace from then on.
        """
        over = 0.0 if self._over_since is None else time.monotonic() - self._over_since
        if not self._may_live:
            return over > _LOST_SECONDS
        grace = self._told["driver_grace_seconds"]
        return bool(status.state not in _GUESSES and over > grace + _LOST_SECONDS)

    def _take_call(self, listener: socket.socket) -> Optional[Line]:
        try:
            connection, _ = listener.accept()
        except socket.timeout:
            return None
        taken = take_call(
            connection,
            self._token,
            lambda one: self._driver in (None, one),
            lambda: _HASTE_SECONDS if self._is_stopped else _SILENCE_SECONDS,
        )
        if taken is None:
            return None
        driver, line = taken
        if self._driver is None:
            self._driver = driver
            if driver not in self._submissions:  # its answer was lost
                self._submissions.append(driver)
            say("the driver runs as {}".format(driver))
        return line

    def _look_at_driver(self) -> None:
        submission = self._driver or self._submissions[-1]
        try:
            found = self._gateway.status(submission)
        except UnheardError as error:
            self._complain("the master does not answer: {}".format(error))
            return
        # One that started anew without a memory knows nothing of what it once put on a worker.
        self._note_status(found or DriverStatus("UNKNOWN", None))

    def _note_status(self, status: DriverStatus) -> None:
        self._status, self._master_heard_at = status, time.monotonic()
        if not status.is_over:
            self._over_since = None
        elif self._over_since is None:
            self._over_since = time.monotonic()

    def _look_for_room(self, waited: float) -> None:
        demand = _Demand(self._told)
        is_hopeless = self._cluster.is_too_small(demand)
        patience = self._told["executor_timeout_seconds"]
        if is_hopeless:
            patience = min(patience or _HOPELESS_SECONDS, _HOPELESS_SECONDS)
        words = "no worker has taken the driver in {:.0f} s: it asks for {}; {}".format(
            waited, demand, self._cluster.describe()
        )
        if patience is not None and waited >= patience:
            remedy = (
                "; ask for less in run_config.spark (driver_memory, driver_cores), free the "
                "cluster, or set `executor_timeout_seconds` in the compute target's settings"
            )
            raise _EndError(words + remedy)
        if waited > _HOPELESS_SECONDS / 2:
            self._complain(words)

    def _obituary(self, status: Optional[DriverStatus]) -> str:
        if status is None:
            return "the driver was lost: neither it nor its master was heard of any more"
        if self._driver is None:
            words = (
                "the driver ended on worker {} before it called {} ({}): see its stderr on the "
                "worker's pages; workers need Python 3.8 or newer (`python` in the compute "
                "target's settings), and have to reach that address (`callback_host`, "
                "`callback_ports`)"
            )
            return words.format(status.worker, self._address, status.state)
        words = "the driver was lost: its master calls it {}{}{}"
        where = "" if status.worker is None else ", on worker {}".format(status.worker)
        silence = "" if status.is_over else ", and it calls no more"
        return words.format(status.state, where, silence)

    def _no_call(self, status: DriverStatus) -> str:
        words = (
            "the driver runs on worker {} and has not called {}: let the workers reach that "
            "address, name another of this machine as `callback_host` and `callback_ports` in the "
            "compute target's settings, or an `edge_node` that they reach"
        )
        return words.format(status.worker, self._address)

    def _follow(self, line: Line, listener: socket.socket) -> Dict[str, Any]:
        """Give the driver its job unless it has it, and take what comes, to its end."""
        self._hand_over(line)
        while True:
            if select.select([listener], [], [], 0)[0]:
                self._turn_away(listener)
            if self._is_stopped and not self._is_stop_told:
                line.ask("cancel", run_id=self._job_id)
                self._is_stop_told = True
            state = self._observe(line)
            if state is not None and state["status"] in TERMINAL and self._is_all_seen(state):
                self._may_live = False
                self._fetch(line)
                self._dismiss(line)
                return state

    def _dismiss(self, line: Line) -> None:
        """Have what was fetched removed there; where no answer comes, the driver is removed."""
        with contextlib.suppress(LineBrokenError, LineFaultError):
            line.ask("discard", run_id=self._job_id)
            self._dismissed = None if self._is_stopped else self._driver  # it ends by itself

    def _turn_away(self, listener: socket.socket) -> None:
        """Tell a superfluous driver so; the one that has the job calls again, if it does."""
        line = self._take_call(listener)
        if line is not None:
            line.close()

    def _hand_over(self, line: Line) -> None:
        lacking = self._ask_missing(line, list(self._blobs))
        if lacking:
            parts = blob_parts({one: self._blobs[one] for one in lacking}, None)
            line.ask("upload", self._until_stopped(parts))
        told = dict(self._told, gateway=None, archive=self._archive)
        variables = dict(
            self._spec["environment_variables"], MLTRAIN_DRIVER_OF=self._folder.run_id
        )
        spec = dict(
            self._spec,
            run_id=self._job_id,
            blobs=[],
            environment=None,
            environment_variables=variables,
            max_run_duration_seconds=None,  # it is counted here
            lease_seconds=None,  # as this is
            max_concurrent_runs=None,
            gpus=None,
            cancel_grace_seconds=told["driver_grace_seconds"],
            spark=told,
        )
        self._may_live = True
        if not line.ask("lay_down", spec=spec, secrets=self._secrets):
            raise _EndError("the driver lacks what was sent to it")

    def _find_blobs(self) -> Dict[str, Path]:
        blobs, digests = Path(self._folder.blobs), []
        for snapshot_id in snapshots_of(self._spec):
            manifest = blobs / snapshot_id[:2] / snapshot_id
            digests += [snapshot_id, *blobs_of(manifest.read_bytes())]
        found = {one: blobs / one[:2] / one for one in digests}
        if self._tree is not None:
            packed = archive.path_of(self._tree)
            self._archive = _digest(packed)
            found[self._archive] = Path(packed)
        return found

    def _until_stopped(self, parts: Iterator[bytes]) -> Iterator[bytes]:
        for part in parts:
            if self._is_stopped and not self._may_live:
                raise _StoppedError
            yield part

    def _ask_missing(self, line: Line, digests: List[str]) -> List[str]:
        packed = b"".join(map(bytes.fromhex, digests))
        content = b"".join(line.asking("missing", in_parts(packed)).parts())
        return [content[at : at + 32].hex() for at in range(0, len(content), 32)]

    def _observe(self, line: Line) -> Optional[Dict[str, Any]]:
        changed = {self._job_id: dict(self._seen)}
        question = line.asking(
            "observe",
            view=1,
            changed=changed,
            dropped=[],
            wait_seconds=_OBSERVE_SECONDS,
        )
        content = b"".join(question.parts())
        state: Optional[Dict[str, Any]] = question.result["states"].get(self._job_id)
        if state is None:
            return None
        log, metrics = content[: state["log"]], content[state["log"] :]
        _write_all(1, log)
        if metrics:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            descriptor = os.open(self._folder.metrics, flags, 0o600)
            try:
                _write_all(descriptor, metrics)
            finally:
                os.close(descriptor)
        self._seen["status"] = state["status"]
        self._seen["log"] += len(log)
        self._seen["metrics"] += len(metrics)
        return state

    def _is_all_seen(self, state: Dict[str, Any]) -> bool:
        seen = self._seen
        return bool(
            seen["log"] >= state["log_bytes"] and seen["metrics"] >= state["metrics_bytes"]
        )

    def _fetch(self, line: Line) -> None:
        """Have the driver's outputs and logs where those of other jobs are."""
        received = Path(self._folder.path, "received")
        shutil.rmtree(str(received), ignore_errors=True)
        received.mkdir()
        tree = ReceivedTree(received)
        question = line.asking("fetch", (b"{}",), run_id=self._job_id, with_log=False)
        tree.take(question.parts())
        tree.finish()
        for name, place in (
            ("outputs", self._folder.outputs),
            ("logs", self._folder.watched_logs),
        ):
            if (received / name).exists():
                shutil.rmtree(place, ignore_errors=True)
                os.makedirs(os.path.dirname(place), exist_ok=True)
                os.rename(str(received / name), place)
        shutil.rmtree(str(received), ignore_errors=True)
        if question.result:
            say("left behind on the worker: {}".format(", ".join(question.result)))

    def _end_as(self, ended: Dict[str, Any]) -> int:
        if ended["status"] == "Canceled":
            return 128 + signal.SIGTERM
        code = int(ended.get("exit_code") or 0)
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

    def _remove_drivers(self) -> None:
        """Have whatever was submitted ended, and see that it is."""
        deadline = time.monotonic() + _REMOVAL_SECONDS
        if self._may_live:
            deadline += self._told["driver_grace_seconds"] + _LOST_SECONDS
        left = [one for one in self._submissions if one != self._dismissed]
        while left and time.monotonic() < deadline:
            for one in list(left):
                try:
                    status = self._gateway.status(one) or DriverStatus("UNKNOWN", None)
                    if one == self._driver:
                        self._note_status(status)
                    if not status.is_over:
                        self._gateway.kill(one)
                    elif one != self._driver or not self._may_live or self._has_ended(status):
                        left.remove(one)
                except UnheardError as error:
                    self._complain("the master does not answer: {}".format(error))
            if left:
                time.sleep(_LOOK_SECONDS)
        if left:
            say("not seen to end on the cluster: {}".format(", ".join(left)))

    def _sleep(self) -> None:
        deadline = time.monotonic() + _STATUS_SECONDS
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


class _Wait:
    """Since when what has been the case."""

    def __init__(self, began: float) -> None:
        self._since = {"began": began}

    def seconds_since(self, what: str) -> float:
        """How long it has been so, now that it is."""
        now = time.monotonic()
        return now - self._since.setdefault(what, now)


class _Demand:
    """What the driver asks of a worker."""

    def __init__(self, told: Dict[str, Any]) -> None:
        self.memory = str(told["driver_memory"] or DRIVER_MEMORY)
        self.memory_mebibytes = in_mebibytes(self.memory)
        self.cores: Optional[int] = int(told["driver_cores"] or DRIVER_CORES)

    def __str__(self) -> str:
        return "{} of memory and {} cores".format(self.memory, self.cores)


def _digest(path: str) -> str:
    import hashlib  # noqa: PLC0415  # dear at start-up

    found = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1024 * 1024), b""):
            found.update(piece)
    return found.hexdigest()


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def main(argv: List[str]) -> None:
    """Run the driver of a job on its cluster, as `spark.launcher.main` does on this machine."""
    root, run_id, tree = argv
    content = take_over()
    secrets = {purpose: read_secrets(content, purpose) for purpose in _DRIVERS_SECRETS}
    code = ClusterLauncher(JobFolder(root, run_id), tree or None, secrets).run()
    os._exit(code)
