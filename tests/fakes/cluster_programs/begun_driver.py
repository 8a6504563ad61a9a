"""A driver as a cluster runs it: a process in place of its Java, and that one's Python below."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

# A shell that waits for its Python, as Java does, and leaves how that ended.
_JAVA = '"$@" >stdout 2>stderr; echo $? >exit-code.new; mv exit-code.new exit-code'
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)")
_NAMED = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}
_PY4J = Path(__file__).parent / "gateway"


def begin(place: Path, argv: list[str], variables: dict[str, str]) -> subprocess.Popen[bytes]:
    """Begin it in a folder of its own; the process that stands for its Java."""
    told = {
        "PATH": os.environ["PATH"],
        "PYSPARK_GATEWAY_PORT": "1",
        "PYSPARK_GATEWAY_SECRET": "in-place-of-java",
        "PYTHONPATH": str(_PY4J),
        "PROPERTIES_OF_JAVA": str(place / "properties"),
        **variables,
    }
    java = subprocess.Popen(
        ["sh", "-c", _JAVA, "java", *argv],
        cwd=place,
        env=told,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    (place / "pid").write_text(str(java.pid))
    return java


def end(place: Path) -> None:
    """End it at once, and the keeper with it, as a container is ended."""
    try:
        os.killpg(int((place / "pid").read_text()), signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):
        return


def exit_code(place: Path) -> int | None:
    """How it ended; -9 where that was not of its own, None while it runs."""
    try:
        return int((place / "exit-code").read_text())
    except FileNotFoundError:
        pass
    try:
        stat = Path(f"/proc/{(place / 'pid').read_text()}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return -9
    return -9 if stat.rpartition(b")")[2].split()[0] in (b"Z", b"X") else None


def read_properties(argv: list[str]) -> dict[str, str]:
    """Those of `--conf` and of the file of `--properties-file`, as spark-submit takes them."""
    found = {}
    path = argv[argv.index("--properties-file") + 1]
    for line in Path(path).read_text().splitlines():
        name, _, value = line.partition("=")
        found[name] = _ESCAPE.sub(_letter, value)
    for at, word in enumerate(argv):
        if word == "--conf":
            name, _, value = argv[at + 1].partition("=")
            found[name] = value
    return found


def _letter(escape: re.Match[str]) -> str:
    """What stands for itself after a backslash in a file of properties, or has a name."""
    told = escape.group(1)
    return chr(int(told[1:], 16)) if len(told) > 1 else _NAMED.get(told, told)


def fail(*lines: str) -> None:
    """End as a Java that fails."""
    for line in lines:
        print(line, file=sys.stderr)
    sys.exit(1)
