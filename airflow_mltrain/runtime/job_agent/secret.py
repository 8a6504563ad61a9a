"""What a job may use and nobody else may see: handed on in memory, from process to process.

By purpose: `indexes` has a login and a password for each host, `spark` is what `spark/command.py`
reads, `variables` are environment variables of the script.
"""

import contextlib
import json
import os
from typing import Any, Mapping, Optional

Secrets = Mapping[str, Any]


def encode_secrets(secrets: Optional[Secrets]) -> bytes:
    """As bytes, for `read_secrets`; none where there are none."""
    return json.dumps(secrets).encode() if secrets else b""


def read_secrets(content: bytes, purpose: str) -> Any:
    """Those of one purpose; None where there are none, ValueError where it cannot be read."""
    return dict(json.loads(content)).get(purpose) if content else None


def hand_over(secrets: Optional[Secrets]) -> int:
    """A descriptor to be another process's standard input; there `take_over` reads it."""
    return hand_on(encode_secrets(secrets))


def hand_on(content: bytes) -> int:
    """The same, for what `take_over` gave."""
    descriptor = os.memfd_create("mltrain")  # no file: nothing is left, whoever is killed
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def take_over() -> bytes:
    """What this process was handed on its standard input, which is empty from now on."""
    content = b""
    with contextlib.suppress(OSError):  # it may have none
        while True:
            chunk = os.read(0, 65536)
            content += chunk
            if not chunk:
                break
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    if nothing:
        os.close(nothing)
    return content
