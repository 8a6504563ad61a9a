"""The process that stands for a Spark job: it begins spark-submit, and ends as that does."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import Any, Dict, List, Optional

from ..folder import JobFolder
from ..plain_file import read_from, size_of
from ..secret import read_secrets, take_over
from .command import Launch, LaunchError, Scratch, find_java, make_launch

_LOG = "spark.log"
_SPARK_LOG_BYTES = 512 * 1024
_GRACE_SECONDS = 10.0


class _StopError(Exception):
    """The job is to end; its script was told."""


class Launcher:
    """Runs the driver of one job, to its end."""

    def __init__(self, folder: JobFolder, tree: Optional[str], secrets: Dict[str, Any]) -> None:
        self._folder = folder
        self._secrets = secrets  # `properties` of Spark, and a `keytab` in Base64 or None
        self._spec = folder.read_spec()
        self._tree = tree
        self._told: Dict[str, Any] = self._spec["spark"]
        self._spark_log = os.path.join(folder.watched_logs, _LOG)
        self._driver: Optional["subprocess.Popen[bytes]"] = None
        self._given_up: Optional[str] = None
        self._is_stopped, self._is_waiting = False, False

    def run(self) -> int:
        """How the driver ended: its exit code, or minus the number of the signal that ended it."""
        signal.signal(signal.SIGTERM, self._note_stop)
        scratch = Scratch(self._folder)
        try:
            launch = make_launch(self._folder, self._spec, self._secrets, self._tree, scratch)
            find_java(launch.variables)
            return self._drive(launch)
        except LaunchError as error:
            self._note_fault(str(error))
            return exit_code_of(error, self._folder)
        except OSError as error:
            self._note_fault("the driver could not be begun: {}".format(error))
            return 1
        finally:
            scratch.remove()

    def _drive(self, launch: Launch) -> int:
        os.makedirs(self._folder.watched_logs, exist_ok=True)
        with open(self._spark_log, "ab") as log:
            self._driver = subprocess.Popen(
                launch.argv,
                cwd=self._folder.code,
                env=launch.variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_ignore_terminate,  # noqa: PLW1509  # no threads yet
            )
        from .watch import Watch  # noqa: PLC0415  # while Java begins, which takes far longer

        watch = Watch(
            self._driver.pid,
            self._told,
            launch.properties,
            self._folder.metrics,
            say,
            self._give_up,
        )
        watch.start()
        mention_blindness(launch.properties)
        code = self._await_end(launch, self._driver)
        if self._given_up is not None:
            self._note_fault(self._given_up)
            return 1
        is_of_script = not os.path.exists(launch.words)  # which takes them as it begins
        if code != 0 and not self._is_stopped:
            is_of_script = self._explain(launch, code) and is_of_script
        elif code == 0 and self._told["expects_session"] and not watch.is_application_seen:
            self._mention_no_session()
        if is_of_script:
            note_script_exit(self._folder, code)
        return code

    def _await_end(self, launch: Launch, driver: "subprocess.Popen[bytes]") -> int:
        """Wait for the driver; one that is stopped before its script began saves nothing."""
        while True:
            with contextlib.suppress(_StopError):
                self._is_waiting = True
                try:
                    if not self._is_stopped or not os.path.exists(launch.words):
                        return driver.wait()
                finally:
                    self._is_waiting = False
            if os.path.exists(launch.words):
                driver.kill()
                return driver.wait()

    def _note_stop(self, _number: int, _frame: object) -> None:
        self._is_stopped = True
        if self._is_waiting:
            raise _StopError

    def _give_up(self, reason: str) -> None:
        """Have the script stopped, by which Spark ends in good order, or both after a while."""
        if self._given_up is not None or self._driver is None:
            return
        self._given_up = reason
        for child in _children(self._driver.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)
        time.sleep(_GRACE_SECONDS)
        self._driver.kill()

    def _explain(self, launch: Launch, code: int) -> bool:
        """Say why the driver failed; whether that may be what the script meant to say."""
        from .cluster import Cluster  # noqa: PLC0415  # as above
        from .diagnosis import diagnose, last_words  # noqa: PLC0415
        from .version import find_version  # noqa: PLC0415

        spark_log = _end_of(self._spark_log, _SPARK_LOG_BYTES)
        cluster = Cluster(self._told["master"], self._told["master_pages"])
        reason = diagnose(spark_log, cluster, find_version(launch.argv[0], launch.variables))
        is_meant = reason is None or code != 1  # as which Python ends by whatever Spark raises
        has_begun = not os.path.exists(launch.words)
        if reason is None and not has_begun:
            reason = "spark-submit ended before the script began; its words are in the log"
        if reason is None and code == 128 + signal.SIGKILL:
            reason = "the driver's Python was killed by SIGKILL: was it out of memory?"
        if reason is None:
            return True  # the script's own fault, and its own words
        for line in last_words(spark_log):
            say(line)
        self._note_fault(reason)
        return is_meant

    def _mention_no_session(self) -> None:
        if "Running Spark version" not in _end_of(self._spark_log, _SPARK_LOG_BYTES):
            say(
                "no Spark session was seen: the script ran on the driver's machine alone; it gets "
                "one from SparkSession.builder.getOrCreate()"
            )

    def _note_fault(self, reason: str) -> None:
        say(reason)
        with contextlib.suppress(OSError):
            self._folder.write_script_fault(reason)


def mention_blindness(properties: Dict[str, str]) -> None:
    """Say what is lost where the driver is to have no pages."""
    if properties.get("spark.ui.enabled", "true").strip().lower() == "false":
        say(
            "spark.ui.enabled is false, so that nothing is seen of the driver: no application, no "
            "progress, and nobody notices if no executor comes; leave it out, or bound the run by "
            "max_run_duration_seconds"
        )


def _ignore_terminate() -> None:
    """Let the Java outlive a cancel as long as its script does, which may save its work."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _children(pid: int) -> List[int]:
    threads = "/proc/{}/task".format(pid)
    found: List[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(threads):
            with open(os.path.join(threads, thread, "children")) as file:
                found += map(int, file.read().split())
    return found


def say(words: str) -> None:
    """Add a line to the job's log."""
    with contextlib.suppress(OSError):  # the disk may be full
        os.write(1, "[mltrain] {}\n".format(words).encode(errors="replace"))


def _end_of(path: str, count: int) -> str:
    return read_from(path, max(0, size_of(path) - count), count).decode(errors="replace")


def main(argv: List[str]) -> None:
    """Run the driver of the job of `argv`: root, run id, and its environment's folder, or "".

    Prints to the job's log, and ends as the driver ended. Its secrets come by standard input, as
    `secret.hand_over` gives them.
    """
    root, run_id, tree = argv
    secrets = read_secrets(take_over(), "spark")
    end_as(Launcher(JobFolder(root, run_id), tree or None, secrets).run())


def exit_code_of(error: LaunchError, folder: JobFolder) -> int:
    """What to end with where a driver cannot begin; a shell's word is taken for its script's."""
    if error.exit_code is None:
        return 1
    note_script_exit(folder, error.exit_code)
    return error.exit_code


def note_script_exit(folder: JobFolder, code: int) -> None:
    """Leave that the script ended so: with an exit code, or minus the number of a signal."""
    with contextlib.suppress(OSError):  # then it is an end that may be tried again
        folder.write_script_exit(code if code >= 0 else 128 - code)


def end_as(code: int) -> None:
    """End this process with an exit code, or by the signal that it is minus the number of."""
    if code < 0:
        with contextlib.suppress(OSError):  # SIGKILL is never handled
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.stdout.flush()
    os._exit(code if code >= 0 else 128 - code)
