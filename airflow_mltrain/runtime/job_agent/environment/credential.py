"""The credentials of package indexes, and how tools are given them: as a netrc file."""

import os
import re
from typing import Dict, Tuple

from ..secret import read_secrets

_UNFIT = re.compile(r"""[\s"'\\#]""")  # what a netrc file has no agreed way to write

Credentials = Dict[str, Tuple[str, str]]


class CredentialError(Exception):
    """Credentials that no tool could be given; never says what they are."""


def read_credentials(secrets: bytes) -> Credentials:
    """Host -> login and password; CredentialError where that cannot be read."""
    try:
        found = read_secrets(secrets, "indexes") or {}
        return {host: (login, word) for host, (login, word) in found.items()}
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
