"""Locks on files, which the kernel frees when their holder ends."""

import contextlib
import errno
import fcntl
import os
from typing import Iterator, Optional


def try_exclusive(path: str) -> Optional[int]:
    """Lock the file for the caller alone, made where it is missing; None while anybody has it.

    Closing the descriptor frees it. Where nothing can be written, what is there can be locked.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES):
            raise
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return _try(descriptor, fcntl.LOCK_EX)


def try_shared(path: str) -> Optional[int]:
    """Lock the file together with others; None while somebody has it alone.

    FileNotFoundError where there is none. Closing the descriptor frees it.
    """
    return _try(os.open(path, os.O_RDONLY | os.O_CLOEXEC), fcntl.LOCK_SH)


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
def exclusive(path: str) -> Iterator[bool]:
    """Whether the caller has the file's lock alone during the block; does not wait for it."""
    descriptor = try_exclusive(path)
    if descriptor is None:
        yield False
        return
    try:
        yield True
    finally:
        os.close(descriptor)
