"""Why a Docker engine did not do what it was asked, and what to do about it."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from docker.errors import APIError
from requests.exceptions import SSLError

_CERTIFICATES = "tls_ca, tls_cert and tls_key under `mltrain` in the connection's extra"
_SPEAKS_TLS = ("HTTP request to an HTTPS server", "malformed HTTP response")


def explain_no_engine(error: BaseException, url: str) -> str:
    """Why nothing answers at an engine's URL, in words for whoever reads the task log."""
    causes = list(_chain(error))
    if any(isinstance(one, SSLError) or "SSL" in type(one).__name__ for one in causes):
        return (
            f"the engine and this side refuse each other's certificates: {_last_words(causes)}; "
            f"see {_CERTIFICATES}"
        )
    numbers = {one.errno for one in causes if isinstance(one, OSError)}
    if errno.EACCES in numbers or errno.EPERM in numbers:
        return (
            f"this user may not use {url}: add it to the group that owns the socket (usermod -aG "
            "docker ...), then log in anew"
        )
    if errno.ENOENT in numbers:
        return (
            f"there is no Docker engine at {url}: start it (systemctl start docker), or name "
            "another one as `engine` under `mltrain` in the connection's extra"
        )
    if errno.ECONNREFUSED in numbers:
        return f"nothing listens at {url}: is the Docker engine running, and does it listen there?"
    words = _last_words(causes)
    if any(sign in str(one) for one in causes for sign in _SPEAKS_TLS):
        return f"the engine at {url} speaks TLS: give {_CERTIFICATES}"
    return f"the Docker engine at {url} does not answer: {words}"


def words_of(error: Exception) -> str:
    """What an engine said, without the request that it was asked with."""
    if isinstance(error, APIError):
        return str(error.explanation or error)
    return str(error) or type(error).__name__


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    pending = [error]
    while pending:
        one = pending.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        pending += [one.__cause__, one.__context__]
        pending += [argument for argument in one.args if isinstance(argument, BaseException)]


def _last_words(causes: list[BaseException]) -> str:
    words = [str(one) for one in causes if str(one)]
    return min(words, key=len) if words else type(causes[0]).__name__
