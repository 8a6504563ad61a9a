"""A standalone master, which runs drivers in Python when its REST gateway asks it to."""

from typing import Any, Callable, Dict, List, Optional, Tuple

from .cluster import Cluster, in_mebibytes
from .gateway import Gateway
from .master import DriverStatus, Invitation

DRIVER_MEMORY, DRIVER_CORES = "1g", 1  # as Spark has it where nothing is said
# The Java beside the driver does nothing but wait for it.
_IDLE_JAVA = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xms16m"


class StandaloneMaster:
    """Puts the drivers of one run on the workers of a standalone cluster.

    It makes their ids itself and shows no name of them: one whose id is lost cannot be found.
    """

    pause_seconds = 2.0
    driver_is_java = False
    log_place = "its stderr on the worker's pages"
    remedy = (
        "see that spark.master.rest.enabled is true there, and name its gateway's address as "
        "`master_gateway` in the compute target's settings"
    )

    def __init__(self, told: Dict[str, Any]) -> None:
        self._told = told
        self._gateway = Gateway(self.addresses())
        self._cluster = Cluster(told["master"], told["master_pages"])
        self._demand = _Demand(told)

    def addresses(self) -> List[Tuple[str, int]]:
        return [(host, port) for host, port in self._told["gateway"]]

    def submit(self, invitation: Invitation, _check: Callable[[], None]) -> str:
        properties = {
            "spark.master": self._told["master"],
            "spark.app.name": self._told["run_id"],
            "spark.submit.deployMode": "cluster",
            "spark.driver.memory": self._demand.memory,
            "spark.driver.cores": str(self._demand.cores),
            "spark.driver.supervise": "false",
            "spark.driver.extraJavaOptions": _IDLE_JAVA,
        }
        python = self._told["worker_python"]
        version = self._gateway.version()
        return self._gateway.create(
            invitation.program, python, invitation.variables, properties, version
        )

    def find_drivers(self, _check: Callable[[], None]) -> List[str]:
        return []

    def id_of(self, caller: str) -> str:
        return caller

    def status(self, driver: str, _check: Callable[[], None]) -> Optional[DriverStatus]:
        return self._gateway.status(driver)

    def kill(self, driver: str, _check: Callable[[], None]) -> None:
        self._gateway.kill(driver)

    def is_hopeless(self) -> bool:
        return self._cluster.is_too_small(self._demand)

    def describe_room(self) -> str:
        return "it asks for {}; {}".format(self._demand, self._cluster.describe())

    def facts(self, _driver: str) -> Dict[str, str]:
        return {}

    def save_log(self, _driver: str, _path: str) -> str:
        return ""  # that Java only waits; what the inner one said came with the job's logs

    def close(self) -> None:
        pass


class _Demand:
    """What the driver asks of a worker."""

    def __init__(self, told: Dict[str, Any]) -> None:
        self.memory = str(told["driver_memory"] or DRIVER_MEMORY)
        self.memory_mebibytes = in_mebibytes(self.memory)
        self.cores: Optional[int] = int(told["driver_cores"] or DRIVER_CORES)

    def __str__(self) -> str:
        return "{} of memory and {} cores".format(self.memory, self.cores)
