"""How long a driver on a cluster is waited for, and when it has surely ended."""

import time
from typing import Any, Callable, Dict, Optional

from ..spark.master import DriverMaster, DriverStatus, Phase
from .entry import CONNECT_SECONDS, HANDSHAKE_SECONDS, SILENCE_SECONDS

UNHEARD_SECONDS = 600.0  # a master that does not answer may come back
LOST_SECONDS = 10.0  # a driver that has ended may still be about to call
_CALL_SECONDS = 60.0  # from the moment that the driver runs
_HOPELESS_SECONDS = 30.0


class EndError(Exception):
    """The driver will not get any further; its text is why."""


def longest_life(alone_seconds: float, grace_seconds: float) -> float:
    """How many seconds a driver can live that its submitter does not hear of any more.

    Its keeper finds the line broken, is alone, makes a last call, and gives the script its grace.
    """
    last_call = CONNECT_SECONDS + HANDSHAKE_SECONDS
    return SILENCE_SECONDS + alone_seconds + last_call + grace_seconds + LOST_SECONDS


class Vigil:
    """The wait for a driver's call; it knows when there is nothing to wait for."""

    def __init__(
        self, told: Dict[str, Any], master: DriverMaster, complain: Callable[[str], None]
    ) -> None:
        self.address = ""  # that a driver is to call
        self.has_called = False  # a driver, which was given the job
        self.may_live = False  # what the driver runs, which only its keeper knows for sure
        self._told, self._master = told, master
        self._complain = complain
        self._heard_at = time.monotonic()  # of the master
        self.begin(self._heard_at)

    def begin(self, since: float) -> None:
        """Wait, from that moment of the monotonic clock."""
        self._began = since
        self._runs_since: Optional[float] = None
        self._over_since: Optional[float] = None
        self._status: Optional[DriverStatus] = None

    def hear(self) -> None:
        """Note that the master has answered, whatever it said."""
        self._heard_at = time.monotonic()

    def note(self, status: DriverStatus) -> None:
        """Take what the master says."""
        self.hear()
        self._status = status
        if not status.is_over:
            self._over_since = None
        elif self._over_since is None:
            self._over_since = self._heard_at
        if status.phase is not Phase.RUNNING:
            self._runs_since = None
        elif self._runs_since is None:
            self._runs_since = self._heard_at

    def judge(self) -> None:
        """Raise EndError where no call will come any more, or none has come for too long."""
        self._judge_silence()
        status = self._status
        if status is None:
            return
        if status.is_over:
            if self.has_ended(status):
                self.may_live = False
                raise EndError(self._obituary(status))
        elif self.has_called:
            return
        elif self._runs_since is not None:
            if _seconds_since(self._runs_since) > _CALL_SECONDS:
                raise EndError(self._no_call(status))
        else:
            self._look_for_room(_seconds_since(self._began))

    def has_ended(self, status: DriverStatus) -> bool:
        """Whether what the driver runs has surely ended too, and no call of it is on its way.

        What the master has done with is the Java beside it; the script has its grace from then on.
        """
        over = 0.0 if self._over_since is None else _seconds_since(self._over_since)
        if not self.may_live:
            return over > LOST_SECONDS
        grace = self._told["driver_grace_seconds"]
        return bool(status.phase is Phase.OVER and over > grace + LOST_SECONDS)

    def _judge_silence(self) -> None:
        """Give up a driver that was not heard of for so long, whatever its master says."""
        told = self._told
        if self.has_called:
            longest = longest_life(told["driver_alone_seconds"], told["driver_grace_seconds"])
            if _seconds_since(self._began) > longest:
                self.may_live = False
                raise EndError(self._obituary(self._status))
        elif _seconds_since(self._heard_at) > UNHEARD_SECONDS:
            words = "the master does not answer since {:.0f} s, and no driver has called {}"
            raise EndError(words.format(UNHEARD_SECONDS, self.address))

    def _look_for_room(self, waited: float) -> None:
        patience = self._told["executor_timeout_seconds"]
        if self._master.is_hopeless():
            patience = min(patience or _HOPELESS_SECONDS, _HOPELESS_SECONDS)
        words = "no worker has taken the driver in {:.0f} s: {}".format(
            waited, self._master.describe_room()
        )
        if patience is not None and waited >= patience:
            remedy = (
                "; ask for less in run_config.spark (driver_memory, driver_cores), free the "
                "cluster, or set `executor_timeout_seconds` in the compute target's settings"
            )
            raise EndError(words + remedy)
        if waited > _HOPELESS_SECONDS / 2:
            self._complain(words)

    def _obituary(self, status: Optional[DriverStatus]) -> str:
        if status is None:
            return "the driver was lost: neither it nor its master was heard of any more"
        where = "" if status.worker is None else " on worker {}".format(status.worker)
        if not self.has_called:
            words = (
                "the driver ended{} before it called {} ({}): see {}; workers need Python 3.8 or "
                "newer (`python` in the compute target's settings), and have to reach that "
                "address (`callback_host`, `callback_ports`)"
            )
            return words.format(where, self.address, status.state, self._master.log_place)
        words = "the driver was lost: its master calls it {}{}{}"
        silence = "" if status.is_over else ", and it calls no more"
        return words.format(status.state, where and "," + where, silence)

    def _no_call(self, status: DriverStatus) -> str:
        words = (
            "the driver runs{} and has not called {}: let the workers reach that address, name "
            "another of this machine as `callback_host` and `callback_ports` in the compute "
            "target's settings, or an `edge_node` that they reach"
        )
        where = "" if status.worker is None else " on worker {}".format(status.worker)
        return words.format(where, self.address)


def _seconds_since(moment: float) -> float:
    return time.monotonic() - moment
