"""A job's turn on a machine that it shares: a slot, and the cards that its script may use."""

import time
from typing import Any, Callable, Dict, List, Optional

from . import slot
from .burial import bury_if_dead
from .folder import JobFolder

_BURIAL_LOOKS, _BURIAL_LOOK_SECONDS = 100, 0.1


class TooFewCardsError(Exception):
    """The machine will never have as many cards as the job asks for."""


class Turn:
    """What a job waits for, in the order in which turns were made; had until its process ends."""

    def __init__(
        self,
        folder: JobFolder,
        count: Optional[int],
        gpus: Optional[Dict[str, Any]],
        is_stop_asked: Callable[[], bool],
        sleep: Callable[[float], None],
    ) -> None:
        self.visible_cards: Optional[str] = None  # as CUDA_VISIBLE_DEVICES has them
        self._folder = folder
        self._count, self._gpus = count, gpus
        self._place = "{:020d}-{}".format(time.monotonic_ns(), folder.run_id)  # in line
        self._is_stop_asked = is_stop_asked
        self._sleep = sleep
        self._held: List[slot.Slot] = []

    def wait(self) -> None:
        """Wait for one of `count` slots, then for the cards; breaks off where a stop is asked.

        Raises TooFewCardsError.
        """
        if self._count is not None:
            self._acquire(self._folder.slots, list(map(str, range(self._count))), 1)
        if self._gpus is not None and not self._is_stop_asked():
            names = _find_cards(self._gpus)
            cards = self._acquire(self._folder.gpus, list(names), self._gpus["count"])
            self.visible_cards = ",".join(names[card.name] for card in cards)

    def free(self) -> None:
        """Let the next one have it."""
        for one in self._held:
            one.free()

    def _acquire(self, folder: str, names: List[str], needed: int) -> List[slot.Slot]:
        taken = slot.acquire(folder, names, needed, self._place, self._is_stop_asked, self._sleep)
        self._held += taken or ()
        for one in taken or ():
            self._clear(one)
        return taken or []

    def _clear(self, held: slot.Slot) -> None:
        """Stop what a killed job may have left running in this slot."""
        previous = held.last_holder()
        if previous is not None:
            folder = JobFolder(self._folder.root, previous)
            for _ in range(_BURIAL_LOOKS):
                if self._is_stop_asked() or bury_if_dead(folder):
                    break
                self._sleep(_BURIAL_LOOK_SECONDS)
        held.occupy(self._folder.run_id)


def _find_cards(gpus: Dict[str, Any]) -> Dict[str, str]:
    """The cards of this machine, each with the name that a script knows it by."""
    declared = gpus["devices"]
    if declared is None:
        from .gpu import look_at_gpus  # noqa: PLC0415  # dear at start-up

        declared = [[card["index"], card["index"]] for card in look_at_gpus()["cards"]]
    if len(declared) < gpus["count"]:
        words = "it asks for {} GPUs, and its target has {}; ask for fewer, or declare `gpus`"
        raise TooFewCardsError(words.format(gpus["count"], len(declared) or "none"))
    return dict(declared)
