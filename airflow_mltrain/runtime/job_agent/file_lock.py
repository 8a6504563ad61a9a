"""Locks on files, which the kernel frees when their holder ends."""

import contextlib
import errno
import fcntl
import os
import time
from typing import Iterator, Optional

_LOOK_SECONDS = 0.02
# Not through a link that a script has put there, nor waiting for who opens a pipe.
_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def try_exclusive(path: str) -> Optional[int]:
    """Lock the file for the caller alone, made where it is missing; None while anybody has it.

    Closing the descriptor frees it. Where nothing can be written, what is there can be locked.
    """
    return _try(_open(path), fcntl.LOCK_EX)


def try_shared(path: str) -> Optional[int]:
    """Lock the file together with others; None while somebody has it alone.

    FileNotFoundError where there is none. Closing the descriptor frees it.
    """
    return _try(os.open(path, os.O_RDONLY | _FLAGS), fcntl.LOCK_SH)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES):
            raise
        return os.open(path, os.O_RDONLY | _FLAGS)


def _try(descriptor: int, kind: int) -> Optional[int]:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def shared(path: str) -> Iterator[None]:
    """Have the file's lock together with others during the block, waiting for who has it alone.

    Where its folder is missing, or full and without the file, nobody can have it alone either.
    """
    try:
        descriptor = _open(path)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOSPC, errno.EDQUOT):
            raise
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def exclusive(path: str, patience_seconds: float = 0.0) -> Iterator[bool]:
    """Whether the caller has the file's lock alone during the block, after waiting for so long."""
    deadline = time.monotonic() + patience_seconds
    descriptor = try_exclusive(path)
    while descriptor is None and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        descriptor = try_exclusive(path)
    if descriptor is None:
        yield False
        return
    try:
        yield True
    finally:
        os.close(descriptor)
