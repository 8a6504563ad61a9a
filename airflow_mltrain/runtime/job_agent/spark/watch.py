"""Following a Spark application while its driver runs: how far it is, and what it lacks."""

import contextlib
import threading
import time
from typing import Any, Callable, Dict, List, Optional

from .application import Application, DriverPages, Work
from .cluster import Cluster, in_mebibytes
from .fact import note_facts

_SEARCH_SECONDS, _LOOK_SECONDS = 0.5, 2.0
_TELL_SECONDS = 10.0
_FIRST_COMPLAINT_SECONDS, _COMPLAINT_SECONDS = 15.0, 60.0
_HOPELESS_SECONDS = 30.0
_WIDEST_NAME = 60
_DEFAULT_PORT = 4040


class Watch(threading.Thread):
    """Tells a run's log about the application of a driver, and gives up one that gets nothing.

    `give_up` is called, with the reason, for an application whose jobs have waited so long for
    executors that the patience of its target is at an end.
    """

    def __init__(
        self,
        pid: int,
        told: Dict[str, Any],
        properties: Dict[str, str],
        metrics: str,
        say: Callable[[str], None],
        give_up: Callable[[str], None],
    ) -> None:
        super().__init__(daemon=True)
        self.is_application_seen = False
        self._pages = DriverPages(pid, _first_port(properties))
        self._told = told
        self._cluster = Cluster(told["master"], told["master_pages"])
        self._metrics = metrics
        self._say, self._give_up = say, give_up
        self._application: Optional[Application] = None  # that was introduced
        self._is_lost = True  # and has to be looked for
        self._complained = ""
        self._said, self._said_at = "", 0.0
        self._waiting_since: Optional[float] = None
        self._complained_at = 0.0

    def run(self) -> None:
        """Look, until the process ends."""
        while True:
            try:
                is_at_work = self._look()
            except Exception as error:  # noqa: BLE001  # a page of another Spark, a full disk
                self._complain("the driver's pages were not understood: {!r}".format(error))
                is_at_work = True
            time.sleep(_LOOK_SECONDS if is_at_work else _SEARCH_SECONDS)

    def _look(self) -> bool:
        """Tell what there is to be told; whether there is an application at work."""
        application = self._pages.find_application() if self._is_lost else self._application
        self._is_lost = application is None
        if application is None:
            return False
        if application != self._application:
            self._application = application
            self._introduce(application)
        work = self._pages.look_at_work(application)
        if work is None:
            self._is_lost = True
            return False
        self._tell(work)
        self._look_for_executors(application, work)
        return True

    def _complain(self, words: str) -> None:
        if words != self._complained:
            self._complained = words
            with contextlib.suppress(OSError):
                self._say(words)

    def _introduce(self, application: Application) -> None:
        self.is_application_seen = True
        self._waiting_since, self._complained_at = None, 0.0
        master = application.properties.get("spark.master", "")
        host = application.properties.get("spark.driver.host")
        port = str(self._pages.address).rpartition(":")[2]
        pages = "http://{}:{}".format(host, port)
        self._say(
            "Spark application {} on {}: {}".format(application.application_id, master, pages)
        )
        facts = {"spark.application_id": application.application_id, "spark.ui_url": pages}
        if self._told["history_pages"]:
            history = "{}/history/{}/".format(
                self._told["history_pages"].rstrip("/"), application.application_id
            )
            facts["spark.history_url"] = history
        note_facts(self._metrics, facts)
        if _without_scheme(master) != _without_scheme(self._told["master"]):
            words = "the script chose another master than its compute target's, {}: {}"
            self._say(words.format(self._told["master"], master))

    def _tell(self, work: Work) -> None:
        if not work.jobs and not work.tasks_done:
            return
        words = describe(work)
        now = time.monotonic()
        if words != self._said and now - self._said_at >= _TELL_SECONDS:
            self._say(words)
            self._said, self._said_at = words, now

    def _look_for_executors(self, application: Application, work: Work) -> None:
        if work.executors or not work.jobs:
            self._waiting_since = None
            return
        now = time.monotonic()
        if self._waiting_since is None:
            self._waiting_since = now
        waited = now - self._waiting_since
        if waited < _FIRST_COMPLAINT_SECONDS:
            return
        asked = _asked(application.properties)
        is_hopeless = self._cluster.is_too_small(asked)
        if now - self._complained_at >= _COMPLAINT_SECONDS:
            self._complained_at = now
            words = "no executor yet, after {:.0f} s: each asks for {}; {}"
            self._say(words.format(waited, asked, self._cluster.describe()))
        patience = self._told["executor_timeout_seconds"]
        if is_hopeless:
            patience = min(patience or _HOPELESS_SECONDS, _HOPELESS_SECONDS)
        if patience is not None and waited >= patience:
            remedy = (
                "ask for less in run_config.spark (executor_memory, executor_cores)"
                if is_hopeless
                else "free the cluster, ask for less in run_config.spark, or set "
                "`executor_timeout_seconds` in the compute target's settings"
            )
            words = "the cluster gave it no executor in {:.0f} s: each asks for {}; {}; {}"
            self._give_up(words.format(waited, asked, self._cluster.describe(), remedy))


def _without_scheme(master: str) -> str:
    return master.replace("k8s://https://", "k8s://")  # which Spark adds where it is not said


class Asked:
    """What each executor of an application asks of a worker."""

    def __init__(self, memory: str, cores: Optional[int]) -> None:
        self.memory_mebibytes = in_mebibytes(memory)
        self.cores = cores
        self._memory = memory

    def __str__(self) -> str:
        cores = "" if self.cores is None else " and {} cores".format(self.cores)
        return "{} of memory{}".format(self._memory, cores)


def _asked(properties: Dict[str, str]) -> Asked:
    cores = properties.get("spark.executor.cores", "")
    memory = properties.get("spark.executor.memory", "1g")
    return Asked(memory, int(cores) if cores.isdigit() else None)


def describe(work: Work) -> str:
    """A line on how far an application is."""
    where = "{} executors with {} cores".format(work.executors, work.cores)
    done = "{} tasks done in all, {}".format(work.tasks_done, where)
    if not work.jobs:
        return "Spark is idle; " + done
    parts: List[str] = []
    for job in work.jobs[-2:]:
        stages = job["numCompletedStages"] + job["numSkippedStages"]
        words = "job {}{}: {} of {} tasks, {} of {} stages"
        name = job["name"][:_WIDEST_NAME]
        # Names of Scala's own making say nothing.
        name = "" if name.startswith("$") else " ({})".format(name)
        tasks = job["numCompletedTasks"] + job["numSkippedTasks"]
        parts.append(
            words.format(job["jobId"], name, tasks, job["numTasks"], stages, len(job["stageIds"]))
        )
    more = len(work.jobs) - len(parts)
    if more:
        parts.append("{} more".format(more))
    return "Spark {}; {}".format(", ".join(parts), done)


def _first_port(properties: Dict[str, str]) -> int:
    port = properties.get("spark.ui.port", "")
    return int(port) if port.isdigit() and port != "0" else _DEFAULT_PORT
