"""What Python runs first where a master has put a driver: it calls the one who submitted it.

Sent as text, with where to call and a secret among its variables. Both show that they know the
secret before anything else is said; then the caller gets the job agent, and becomes that.
"""

import hashlib
import hmac
import importlib
import json
import os
import socket
import sys
import tempfile
import time
import zlib

CALL_VARIABLE = "MLTRAIN_SPARK_CALL"
TOKEN_VARIABLE = "MLTRAIN_SPARK_TOKEN"  # noqa: S105  # only its name
ALONE_VARIABLE = "MLTRAIN_SPARK_ALONE"  # seconds that a driver lives without who submitted it
NAME_VARIABLE = "MLTRAIN_SPARK_DRIVER"  # of the driver; that of its folder where it is not said
INSIDE_VARIABLE = "MLTRAIN_SPARK_INSIDE"  # the script is to use the Java that runs this
WELCOME = "welcome"
SILENCE_SECONDS = 20.0  # of who submitted, who asks twice a second: then the line is broken
CONNECT_SECONDS, HANDSHAKE_SECONDS = 5.0, 10.0
_PATIENCE_SECONDS = 30.0
_MOST_BYTES = 64 * 1024


class TurnedAwayError(Exception):
    """Whoever answered has no use for this driver, or is a stranger."""


def prove(token: str, *facts: str) -> str:
    """What only those can say who know the secret."""
    return hmac.new(token.encode(), json.dumps(facts).encode(), hashlib.sha256).hexdigest()


def read_line(connection: socket.socket, deadline: float) -> "dict[str, object]":
    """A line of JSON, and not one byte more; ValueError for anything else.

    Raises OSError where it is not whole by the deadline, on the monotonic clock.
    """
    line = b""
    while not line.endswith(b"\n"):
        received = _receive(connection, 1, deadline)
        if not received or len(line) > _MOST_BYTES:
            raise ValueError("no line came")
        line += received
    return dict(json.loads(line.decode()))


def read_exactly(connection: socket.socket, count: int, deadline: float) -> bytes:
    """So many bytes; ValueError where there are fewer, OSError where they are late."""
    content = b""
    while len(content) < count:
        received = _receive(connection, count - len(content), deadline)
        if not received:
            raise ValueError("the connection was cut")
        content += received
    return content


def _receive(connection: socket.socket, count: int, deadline: float) -> bytes:
    left = deadline - time.monotonic()
    if left <= 0:
        raise socket.timeout("the other end took too long")
    connection.settimeout(left)
    return connection.recv(count)


def send_line(connection: socket.socket, **facts: object) -> None:
    """Send what `read_line` reads."""
    connection.sendall(json.dumps(facts).encode() + b"\n")


def call(
    address: str, token: str, driver: str, *, needs_agent: bool
) -> "tuple[socket.socket, bytes]":
    """A connection to the one who submitted, and the job agent if it is needed.

    Raises TurnedAwayError, and OSError or ValueError where the call did not get through.
    """
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS)
    try:
        agent, refusal = _introduce(connection, token, driver, needs_agent=needs_agent)
    except BaseException:
        connection.close()
        raise
    if refusal is not None:
        connection.close()
        raise TurnedAwayError("{}: {}".format(address, refusal))
    connection.settimeout(SILENCE_SECONDS)
    return connection, agent


def _introduce(
    connection: socket.socket, token: str, driver: str, *, needs_agent: bool
) -> "tuple[bytes, str | None]":
    """The job agent, and why there is nothing to do for this driver."""
    nonce = os.urandom(16).hex()
    send_line(connection, driver=driver, nonce=nonce, needs_agent=needs_agent)
    deadline = time.monotonic() + HANDSHAKE_SECONDS
    answer = read_line(connection, deadline)
    other, verdict, digest = (str(answer[key]) for key in ("nonce", "verdict", "digest"))
    agent = read_exactly(connection, int(str(answer["bytes"])), deadline)
    known = prove(token, "submitter", driver, nonce, other, verdict, digest)
    is_known = hmac.compare_digest(known, str(answer["proof"]))
    if not is_known or hashlib.sha256(agent).hexdigest() != digest:
        return b"", "who answers there does not know this driver"
    send_line(connection, proof=prove(token, "driver", driver, nonce, other))
    return agent, None if verdict == WELCOME else "another driver has this run already"


def install(agent: bytes, folder: str) -> None:
    """Write the files of the job agent."""
    for name, text in json.loads(zlib.decompress(agent).decode()).items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


def main() -> None:
    """Call, become the job agent; what goes wrong is in the driver's log at its worker."""
    if sys.version_info < (3, 8):
        sys.exit("mltrain: Python {} of this worker is too old".format(sys.version.split()[0]))
    addresses = os.environ.pop(CALL_VARIABLE).split(",")
    token = os.environ.pop(TOKEN_VARIABLE)
    alone_seconds = float(os.environ.pop(ALONE_VARIABLE))
    place = os.getcwd()
    driver = os.path.basename(place)
    if NAME_VARIABLE in os.environ:  # another of that name may follow this one
        driver = "{}:{}".format(os.environ.pop(NAME_VARIABLE), os.urandom(4).hex())
    if not os.access(place, os.W_OK):
        place = tempfile.mkdtemp(prefix="mltrain-driver-")
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        for address in addresses:
            try:
                connection, agent = call(address, token, driver, needs_agent=True)
            except TurnedAwayError as error:
                print("mltrain:", error, file=sys.stderr)
                return
            except (OSError, ValueError, KeyError) as error:
                print("mltrain: {} was not reached: {}".format(address, error), file=sys.stderr)
                continue
            root = os.path.join(place, "mltrain")
            install(agent, os.path.join(root, "agent"))
            sys.path[:0] = [os.path.join(root, "agent")]
            module = importlib.import_module("job_agent.cluster.keeper")
            module.keep(root, connection, module.Submitter(address, token, driver), alone_seconds)
            return
        if time.monotonic() > deadline:
            sys.exit("mltrain: whoever submitted this driver was not reached")
        time.sleep(1)


if __name__ == "__main__":
    main()
