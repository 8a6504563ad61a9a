"""Where drivers call, on the machine that submits them, and which calls are taken."""

import contextlib
import hashlib
import hmac
import json
import os
import socket
import time
import zlib
from typing import Callable, Iterable, Optional, Sequence, Tuple

from .entry import WELCOME, prove, read_line, send_line
from .line import Line

_HANDSHAKE_SECONDS = 3.0  # nobody else is heard meanwhile; a driver that is slow calls again
_CALLS_AHEAD = 16


def listen(ports: Optional[Sequence[int]]) -> socket.socket:
    """What takes calls at the first free port from the first of two to the second, or at any.

    Raises OSError where none is free.
    """
    low, high = ports or (0, 0)
    fault = OSError("there is no port from {} to {}".format(low, high))
    for port in range(low, high + 1):
        listener = socket.socket()
        try:
            # Or a port would rest for a minute after a run whose connection ended on this side.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("", port))
            listener.listen(_CALLS_AHEAD)  # what is bound by two is had by the first to listen
        except OSError as error:
            listener.close()
            fault = error
        else:
            return listener
    raise fault


def own_address(others: Iterable[Tuple[str, int]]) -> str:
    """That of this machine on the way to the first of the others that there is a way to."""
    for host, port in others:
        with contextlib.suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as way:
            way.connect((host, port))
            return str(way.getsockname()[0])
    return socket.gethostname()


def take_call(
    connection: socket.socket,
    token: str,
    is_welcome: Callable[[str], bool],
    patience: Callable[[], float],
) -> Optional[Tuple[str, "Line"]]:
    """The driver that calls, and the line to it; None where it is a stranger or not wanted.

    `is_welcome` is asked about those who know the secret; `patience` is the line's.
    """
    try:
        deadline = time.monotonic() + _HANDSHAKE_SECONDS
        hello = read_line(connection, deadline)
        driver, nonce = str(hello["driver"]), str(hello["nonce"])
        agent = pack_agent() if hello["needs_agent"] else b""
        other, digest = os.urandom(16).hex(), hashlib.sha256(agent).hexdigest()
        verdict = WELCOME if is_welcome(driver) else "superfluous"
        proof = prove(token, "submitter", driver, nonce, other, verdict, digest)
        send_line(
            connection, nonce=other, verdict=verdict, digest=digest, bytes=len(agent), proof=proof
        )
        connection.sendall(agent)
        known = prove(token, "driver", driver, nonce, other)
        shown = str(read_line(connection, deadline)["proof"])
        if hmac.compare_digest(known, shown) and verdict == WELCOME:
            return driver, Line(connection, patience)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    connection.close()
    return None


def pack_agent() -> bytes:
    """The files of this job agent, as `entry.install` writes them."""
    runtime = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    files = {}
    for top in ("job_agent", "training"):
        for parent, _, names in os.walk(os.path.join(runtime, top)):
            for name in names:
                if name.endswith(".py"):
                    path = os.path.join(parent, name)
                    with open(path, encoding="utf-8") as file:
                        files[os.path.relpath(path, runtime)] = file.read()
    return zlib.compress(json.dumps(files).encode(), 1)
