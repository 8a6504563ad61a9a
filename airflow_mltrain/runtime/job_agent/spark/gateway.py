"""What a standalone master is asked through its REST gateway, to run drivers on its workers."""

import http.client
import json
from typing import Any, Dict, List, Optional, Tuple

from .master import DriverStatus, MasterError, Phase, UnheardError

_PATIENCE_SECONDS = 10.0
_RUNNER = "org.apache.spark.deploy.PythonRunner"  # runs Python, without a gate for python drivers
_NOT_LEADING = "ALIVE state"
_PHASES = {
    "SUBMITTED": Phase.WAITING,
    "RELAUNCHING": Phase.WAITING,
    "RUNNING": Phase.RUNNING,
    # No worker said so.
    "ERROR": Phase.SUPPOSED_OVER,
    "UNKNOWN": Phase.SUPPOSED_OVER,
    "LOST": Phase.SUPPOSED_OVER,
}


class Gateway:
    """The REST gateways of the masters of a cluster, of which one leads."""

    def __init__(self, addresses: List[Tuple[str, int]]) -> None:
        self._addresses = addresses

    def create(
        self,
        program: str,
        python: str,
        variables: Dict[str, str],
        properties: Dict[str, str],
        version: str,
    ) -> str:
        """Have a Python program run on a worker; the id that the master gave it.

        Asked twice it runs twice: who does so after an UnheardError has to fence.
        """
        question = {
            "action": "CreateSubmissionRequest",
            "appResource": "",
            "mainClass": _RUNNER,
            # The runner's first word is the program's path: no file has to be there beforehand.
            "appArgs": ["-c", "", program],
            "clientSparkVersion": version,
            "environmentVariables": dict(variables, PYSPARK_DRIVER_PYTHON=python),
            "sparkProperties": properties,
        }
        answer = self._ask("POST", "/v1/submissions/create", question)
        if not answer.get("success"):
            raise MasterError(str(answer.get("message", answer)))
        if not answer.get("submissionId"):
            raise UnheardError("its answer has no id of the driver: {}".format(answer))
        return str(answer["submissionId"])

    def status(self, submission_id: str) -> Optional[DriverStatus]:
        """How far the driver is; None where the master does not know it."""
        answer = self._ask("GET", "/v1/submissions/status/{}".format(submission_id))
        if not answer.get("success"):
            return None
        state = str(answer.get("driverState"))
        worker = answer.get("workerHostPort")
        return DriverStatus(_PHASES.get(state, Phase.OVER), state, worker)

    def kill(self, submission_id: str) -> None:
        """Have the driver ended; nothing where it has."""
        self._ask("POST", "/v1/submissions/kill/{}".format(submission_id), {})

    def version(self) -> str:
        """The version of Spark that the master runs."""
        return str(self._ask("GET", "/v1/submissions/status/none").get("serverSparkVersion", ""))

    def _ask(self, method: str, path: str, question: Optional[Any] = None) -> Dict[str, Any]:
        """The leader's answer; without one, that of a standby, which refuses."""
        unheard, refused = "", None
        for host, port in self._addresses:
            connection = http.client.HTTPConnection(host, port, timeout=_PATIENCE_SECONDS)
            try:
                body = None if question is None else json.dumps(question)
                connection.request(method, path, body, {"Content-Type": "application/json"})
                answer = dict(json.loads(connection.getresponse().read()))
            except (OSError, ValueError, TypeError, http.client.HTTPException) as error:
                unheard = "{}:{}: {!r}".format(host, port, error)
                continue
            finally:
                connection.close()
            if _NOT_LEADING in str(answer.get("message")):  # yet: it may recover
                unheard = "{}:{}: {}".format(host, port, answer["message"])
                continue
            if answer.get("success") or "serverSparkVersion" not in answer:
                return answer
            refused = refused or answer
        if refused is None:
            raise UnheardError(unheard or "it has no address")
        return refused
