"""The credentials of package indexes: handed on in memory, and to the tools as a netrc file."""

import contextlib
import json
import os
import re
from typing import Dict, Mapping, Optional, Sequence, Tuple

_UNFIT = re.compile(r"""[\s"'\\#]""")  # what a netrc file has no agreed way to write

Credentials = Dict[str, Tuple[str, str]]


class CredentialError(Exception):
    """Credentials that no tool could be given; never says what they are."""


def encode_credentials(credentials: Optional[Mapping[str, Sequence[str]]]) -> bytes:
    """Host -> login and password as bytes, for `read_credentials`."""
    return json.dumps(credentials).encode() if credentials else b""


def hand_over(credentials: Optional[Mapping[str, Sequence[str]]]) -> int:
    """A descriptor to be another process's standard input; there `take_over` reads it."""
    return hand_on(encode_credentials(credentials))


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


def read_credentials(content: bytes) -> Credentials:
    """Host -> login and password; CredentialError where that cannot be read."""
    if not content:
        return {}
    try:
        return {host: (login, word) for host, (login, word) in json.loads(content).items()}
    except (ValueError, TypeError, AttributeError):
        raise CredentialError("the credentials of the package indexes are not readable") from None


def write_netrc(credentials: Credentials, path: str) -> None:
    """Write them for pip and uv, for the owner alone; CredentialError where one does not fit."""
    lines = []
    for host, (login, password) in sorted(credentials.items()):
        if not login or any(_UNFIT.search(word) for word in (host, login, password)):
            raise CredentialError(
                "the login for the package index at {} is empty, or it or the password has white "
                "space, a quote, a backslash or '#' in it, which pip and uv cannot read from a "
                "netrc file; create a token without them".format(host)
            )
        lines.append("machine {} login {} password {}\n".format(host, login, password or '""'))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(lines)
