"""What is asked of whoever puts drivers on a cluster, whichever kind of master it is."""

from enum import Enum
from typing import Callable, Dict, List, NamedTuple, Optional, Protocol, Tuple


class MasterError(Exception):
    """The master refused; asking again would not help."""


class UnheardError(Exception):
    """No answer came; what was asked may or may not have been done."""


class Phase(Enum):
    """How far a driver is, as far as its master knows."""

    WAITING = "waiting"  # for room
    RUNNING = "running"
    OVER = "over"  # whoever ran it said so
    SUPPOSED_OVER = "supposed over"  # the master thinks so, and it may live


class DriverStatus(NamedTuple):
    """A driver as its master sees it."""

    phase: Phase
    state: str  # in the master's own words
    worker: Optional[str] = None

    @property
    def is_over(self) -> bool:
        """Whether the master has done with it, however it went."""
        return self.phase in (Phase.OVER, Phase.SUPPOSED_OVER)


UNKNOWN = DriverStatus(Phase.SUPPOSED_OVER, "UNKNOWN")


class Invitation(NamedTuple):
    """A program in Python for a master to run, and what that finds among its variables."""

    program: str
    variables: Dict[str, str]
    name_variable: str  # in which a driver is told its name, by a master that chooses it


class DriverMaster(Protocol):
    """Puts the drivers of one run on its cluster.

    Every question may raise UnheardError, or MasterError where it is refused. One that takes long
    is ended by what its `check` raises.
    """

    pause_seconds: float  # between two questions: some of them cost a Java
    driver_is_java: bool  # the script belongs to the Java that the master begins, and to no other
    remedy: str  # where it is not heard
    log_place: str  # of what a driver said before it called

    def addresses(self) -> List[Tuple[str, int]]:
        """Where it is, host and port, as far as that is known."""

    def submit(self, invitation: Invitation, check: Callable[[], None]) -> str:
        """Have the program run on the cluster; the id that the master gave it.

        Asked again, another may run beside the first: who asks has to fence.
        """

    def find_drivers(self, check: Callable[[], None]) -> List[str]:
        """Those of this run that are not over, as far as the master lets them be found."""

    def id_of(self, caller: str) -> str:
        """How the master calls the driver that calls itself so."""

    def status(self, driver: str, check: Callable[[], None]) -> Optional[DriverStatus]:
        """How far the driver is; None where the master does not know it."""

    def kill(self, driver: str, check: Callable[[], None]) -> None:
        """Have the driver ended; nothing where it has."""

    def is_hopeless(self) -> bool:
        """Whether no worker could ever take such a driver, as far as it is known."""

    def describe_room(self) -> str:
        """What the driver asks for, and what there is."""

    def facts(self, driver: str) -> Dict[str, str]:
        """What the master alone knows of the application, as properties of the run."""

    def save_log(self, driver: str, path: str) -> str:
        """Have in a file what the Java of the driver said; where else it is, or nothing."""

    def close(self) -> None:
        """Remove what was left on this machine to ask it."""
