"""Kubernetes, which is asked through spark-submit alone."""

import hashlib
import re
from typing import Any, Callable, Dict, List, Optional, Tuple
from urllib.parse import urlsplit

from .master import DriverStatus, Invitation, Phase, UnheardError
from .submission import Answer, Submission, judge_failure

_RUNNER = "org.apache.spark.deploy.PythonRunner"
_NO_FILE = "spark-internal"
_FIELD = re.compile(r"^\s*([a-z][a-z ]*): (.*)$", re.MULTILINE)
_CONTAINER = re.compile(r"^\s*container state: (\S+)", re.MULTILINE)
_NOT_THERE = "Application not found."
_PHASES = {
    "Pending": Phase.WAITING,
    "Running": Phase.RUNNING,
    "Succeeded": Phase.OVER,
    "Failed": Phase.OVER,
    "Unknown": Phase.SUPPOSED_OVER,
}
_LONGEST_LABEL, _LONGEST_NAME, _DIGITS = 63, 40, 10
_HTTPS_PORT = 443
_OVERHEADS = ("spark.kubernetes.memoryOverheadFactor", "spark.driver.memoryOverheadFactor")
_OVERHEAD_OF_PYTHON = "0.4"  # of memory, beside that of Java


class KubernetesMaster:
    """Puts the driver of one run on Kubernetes, in a pod whose name is the run's.

    There is one pod of a name: whoever asks twice is told of the first.
    """

    pause_seconds = 10.0
    driver_is_java = True
    log_place = "the log of its pod"
    remedy = (
        "see that the connection's host is the address of the cluster's API (k8s://https://...), "
        "and that spark.kubernetes.authenticate.submission.* or the machine's own kubeconfig "
        "allow to create pods there"
    )

    def __init__(self, told: Dict[str, Any], submission: Submission) -> None:
        self._told, self._submission = told, submission
        self._namespace = submission.property("spark.kubernetes.namespace") or "default"
        self._pod = pod_of(submission.run_id)
        self._last: Dict[str, str] = {}  # what was last said of the pod

    def addresses(self) -> List[Tuple[str, int]]:
        address = self._submission.master[len("k8s://") :]
        found = urlsplit(address if "://" in address else "https://" + address)
        return [(found.hostname, found.port or _HTTPS_PORT)] if found.hostname else []

    def submit(self, invitation: Invitation, check: Callable[[], None]) -> str:
        # The runner's first word is the program's path: no file has to be there beforehand.
        application = ["--class", _RUNNER, _NO_FILE, "-c", "", invitation.program]
        answer = self._submission.submit(self._properties(invitation), application, check)
        if answer.exit_code == 0:
            return self._pod
        status = self.status(self._pod, check)
        if status is None:
            raise judge_failure(answer, "Kubernetes did not take the driver")
        if status.phase is Phase.WAITING:
            self.kill(self._pod, check)  # it may wait for settings that nobody makes any more
            words = "its answer for pod {} was lost, which is made anew"
            raise UnheardError(words.format(self._pod))
        return self._pod

    def find_drivers(self, check: Callable[[], None]) -> List[str]:
        status = self.status(self._pod, check)
        return [] if status is None or status.is_over else [self._pod]

    def id_of(self, caller: str) -> str:
        return caller.partition(":")[0]

    def status(self, driver: str, check: Callable[[], None]) -> Optional[DriverStatus]:
        answer = self._ask("--status", driver, check)
        if _NOT_THERE in answer.words:
            return None
        self._last = {name: value.strip() for name, value in _FIELD.findall(answer.words)}
        phase = self._last.get("phase")
        if phase is None:
            raise UnheardError("spark-submit --status: " + answer.last_words())
        node = self._last.get("node name", "N/A")
        return DriverStatus(
            phase_of(answer.words),
            self._describe(phase),
            None if node == "N/A" else node,
        )

    def kill(self, driver: str, check: Callable[[], None]) -> None:
        answer = self._ask("--kill", driver, check)
        if answer.exit_code != 0:
            raise UnheardError("spark-submit --kill: " + answer.last_words())

    def is_hopeless(self) -> bool:
        return False  # nodes may be added

    def describe_room(self) -> str:
        words = "pod {} in namespace {} is {}"
        phase = self._describe(self._last.get("phase", "not seen"))
        return words.format(self._pod, self._namespace, phase)

    def facts(self, driver: str) -> Dict[str, str]:
        return {"spark.driver_pod": "{}/{}".format(self._namespace, driver)}

    def save_log(self, driver: str, _path: str) -> str:
        words = "what Spark said is in the log of its pod: kubectl logs --namespace {} {}"
        return words.format(self._namespace, driver)

    def close(self) -> None:
        self._submission.close()

    def _ask(self, verb: str, driver: str, check: Callable[[], None]) -> Answer:
        return self._submission.ask(verb, "{}:{}".format(self._namespace, driver), check=check)

    def _describe(self, phase: str) -> str:
        reasons = ("pending reason", "termination reason", "exit code")
        told = [
            "{} {}".format(name, self._last[name])
            for name in reasons
            if self._last.get(name, "N/A") != "N/A"
        ]
        return "{} ({})".format(phase, ", ".join(told)) if told else phase

    def _properties(self, invitation: Invitation) -> Dict[str, str]:
        label = label_of(self._submission.run_id)
        properties = {
            "spark.kubernetes.driver.pod.name": self._pod,
            "spark.kubernetes.driver.label.mltrain-run-id": label,
            "spark.kubernetes.executor.label.mltrain-run-id": label,
            "spark.kubernetes.submission.waitAppCompletion": "false",
            "spark.pyspark.driver.python": self._told["worker_python"],
        }
        if not any(self._submission.property(name) for name in _OVERHEADS):
            # Spark takes this for a program in Java, which has no Python beside it.
            properties[_OVERHEADS[0]] = _OVERHEAD_OF_PYTHON
        if self._told["driver_cores"]:
            properties["spark.driver.cores"] = str(self._told["driver_cores"])
        variables = {**invitation.variables, invitation.name_variable: self._pod}
        for name, value in variables.items():
            properties["spark.kubernetes.driverEnv." + name] = value
        return properties


def phase_of(words: str) -> Phase:
    """How far a pod is, as `spark-submit --status` shows it.

    A pod whose node is gone is called failed too; then nobody has seen its containers end.
    """
    fields = dict(_FIELD.findall(words))
    phase = _PHASES.get(fields["phase"].strip(), Phase.SUPPOSED_OVER)
    if phase is Phase.OVER and set(_CONTAINER.findall(words)) != {"terminated"}:
        return Phase.SUPPOSED_OVER
    return phase


def pod_of(run_id: str) -> str:
    """The name of the pod of a run's driver: the same for every submission of it."""
    digest = hashlib.sha256(run_id.encode()).hexdigest()[:_DIGITS]
    readable = re.sub(r"[^a-z0-9]+", "-", run_id.lower()).strip("-")[:_LONGEST_NAME].rstrip("-")
    return "-".join(filter(None, ("mltrain", readable, digest)))


def label_of(run_id: str) -> str:
    """A run id as the value of a label: letters, digits and - _ . between two of the former."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", run_id)[:_LONGEST_LABEL].strip("-_.")
