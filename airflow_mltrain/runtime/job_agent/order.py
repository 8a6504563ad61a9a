"""A job that a container gets over its own input, from whoever began it.

It comes as one line of JSON: `spec`, `log` in base64, `secrets`, and as `uv` the name of the one
that could be brought along, with the `machine` it is for. The answer is a line as well. Who sends
it may be killed at any moment, and another come, who lays the job down on the volume.
"""

import base64
import json
import os
import select
import time
from typing import Any, Dict

from . import handover
from .order_answer import LACKING, answer
from .secret import encode_secrets

_READ_BYTES = 256 * 1024
_MOST_BYTES = 64 * 1024 * 1024  # a larger one is laid down by its sender
_STDIN = 0


class OrderInput:
    """The standard input of a container, until its one line has come or its sender is gone."""

    def __init__(self) -> None:
        self.is_open = True
        self.secrets = b""  # that came with the job
        self._content = bytearray()

    def take(self, root: str, seconds: float) -> None:
        """Lay down the job that is ordered within some seconds; LACKING where it cannot be yet."""
        if not self.is_open:
            time.sleep(seconds)
            return
        if not select.select([_STDIN], [], [], seconds)[0]:
            return
        received = os.read(_STDIN, _READ_BYTES)
        self._content += received
        is_bounded = len(self._content) <= _MOST_BYTES
        if received and is_bounded and not received.endswith(b"\n"):
            return
        self.close()
        is_laid_down = bool(received) and is_bounded and self._lay_down(root)
        self._content.clear()
        if not is_laid_down:
            answer(LACKING)  # also to another who began it, whose word did not come through

    def close(self) -> None:
        """Take nothing more; what this process begins has nothing to read."""
        if self.is_open:
            self.is_open = False
            nothing = os.open(os.devnull, os.O_RDONLY)
            os.dup2(nothing, _STDIN)
            os.close(nothing)

    def _lay_down(self, root: str) -> bool:
        try:
            order = json.loads(self._content.decode())
        except ValueError:  # two may have begun the container at once, and sent one each
            return False
        try:
            if _lacks_uv(root, order):
                return False
            log = base64.b64decode(order["log"])
            is_laid_down = handover.lay_down(root, handover.complete(root, order["spec"]), log)
        except OSError:  # a full disk: who asks the agent on it hears so
            return False
        self.secrets = encode_secrets(order["secrets"])
        return is_laid_down


def _lacks_uv(root: str, order: Dict[str, Any]) -> bool:
    request, uv = order["spec"]["environment"], order["uv"]
    if request is None or uv is None or uv["machine"] != os.uname().machine:
        return False
    from .brought_tool import BroughtTools  # noqa: PLC0415  # dear at start-up

    return BroughtTools(root).lacks_uv(request, uv["name"])
