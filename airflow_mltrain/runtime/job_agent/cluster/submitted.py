"""The drivers of one job on its cluster: the one that has the job, and those that must go."""

import time
from typing import Callable, List, Optional

from ..spark.launcher import say
from ..spark.master import UNKNOWN, DriverMaster, MasterError, UnheardError
from .patience import LOST_SECONDS, Vigil

_LOOK_SECONDS = 0.2
_REMOVAL_SECONDS = 15.0
_HASTY_QUESTION_SECONDS = 15.0  # of a question once told to stop, which has its own end else


class SubmittedDrivers:
    """Knows by the names of its master what was put on the cluster, and has it ended."""

    def __init__(
        self, master: DriverMaster, vigil: Vigil, complain: Callable[[str], None]
    ) -> None:
        self.names: List[str] = []
        self.is_all_known = True  # of what was submitted: an answer may have been lost
        self._master, self._vigil, self._complain = master, vigil, complain
        self._chosen: Optional[str] = None  # it has the job
        self._let_go: Optional[str] = None

    @property
    def likeliest(self) -> str:
        """The one that has the job, or else that was submitted last."""
        return self._chosen or self.names[-1]

    def add(self, driver: str) -> None:
        """Keep the answer to a submission."""
        self.names.append(driver)

    def choose(self, driver: str) -> None:
        """Keep which of them has the job, also where the answer to its submission was lost."""
        self._chosen = driver
        if driver not in self.names:
            self.names.append(driver)

    def let_go(self) -> None:
        """Leave the one that had the job alone: it ends by itself."""
        self._let_go = self._chosen

    def remove(self, grace_seconds: float, is_stopped: Callable[[], bool]) -> None:
        """Have whatever was submitted ended, and see that it is; in haste once stopped.

        The script of the one that has the job takes so many seconds for its end.
        """
        left = [one for one in self._list(is_stopped) if one != self._let_go]
        deadline = time.monotonic() + _REMOVAL_SECONDS
        if self._vigil.may_live:
            deadline += grace_seconds + LOST_SECONDS
        while left:
            for one in list(left):
                try:
                    if self._is_removed(one, is_stopped):
                        left.remove(one)
                except (UnheardError, MasterError) as error:
                    self._complain("the master does not answer: {}".format(error))
            if not left or time.monotonic() > deadline:
                break
            time.sleep(_LOOK_SECONDS)
        if left:
            say("not seen to end on the cluster: {}".format(", ".join(left)))

    def _list(self, is_stopped: Callable[[], bool]) -> List[str]:
        """Those that were submitted, also where the master's answer to that was lost."""
        try:
            found = [] if self.is_all_known else self._master.find_drivers(_hasten(is_stopped))
        except (UnheardError, MasterError) as error:
            self._complain("the master does not answer: {}".format(error))
            found = []
        return [*self.names, *(one for one in found if one not in self.names)]

    def _is_removed(self, driver: str, is_stopped: Callable[[], bool]) -> bool:
        """Have the driver end; whether it has."""
        status = self._master.status(driver, _hasten(is_stopped)) or UNKNOWN
        if driver == self._chosen:
            self._vigil.note(status)
        if not status.is_over:
            self._master.kill(driver, _hasten(is_stopped))
            return False
        is_the_one = driver == self._chosen and self._vigil.may_live
        return not is_the_one or self._vigil.has_ended(status)


def _hasten(is_stopped: Callable[[], bool]) -> Callable[[], None]:
    """What ends a question that begins now, where whoever stopped the job does not wait."""
    began = time.monotonic()

    def check() -> None:
        if is_stopped() and time.monotonic() - began > _HASTY_QUESTION_SECONDS:
            raise UnheardError("no answer in {:.0f} s".format(_HASTY_QUESTION_SECONDS))

    return check
