"""Regular files, and no trap that a script may have put in the place of one."""

import contextlib
import errno
import os
import stat


def write_new(path: str, content: bytes) -> bool:
    """Create a file for good, whole or not at all; False, and unchanged, if there is one."""
    if os.path.exists(path):
        return False
    draft = draft_of(path)
    try:
        write_file(draft, content, os.O_CREAT | os.O_EXCL)
        make_lasting(draft)
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        remove_file(draft)
    make_lasting(os.path.dirname(path))
    return True


def size_of(path: str) -> int:
    """The regular file's size in bytes; 0 where there is none that can be read."""
    try:
        found = os.stat(path, follow_symlinks=False)
    except OSError:
        return 0
    if not stat.S_ISREG(found.st_mode):
        return 0
    is_open = found.st_mode & stat.S_IRUSR and found.st_uid == os.geteuid()
    return found.st_size if is_open or os.access(path, os.R_OK) else 0


def read_from(path: str, position: int, limit: int) -> bytes:
    """At most `limit` bytes of a regular file past `position`; none where it is something else."""
    try:
        return read_plain(path, position, limit)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return b""


def read_plain(path: str, position: int, limit: int) -> bytes:
    """The same; OSError where nothing is there, or it may not be read."""
    try:
        # A script may have put a link or a pipe there, to be read through or waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            return b""
        raise
    try:
        found = os.fstat(descriptor)
        length = min(limit, found.st_size - position)
        is_file = stat.S_ISREG(found.st_mode)
        return os.pread(descriptor, length, position) if is_file and length > 0 else b""
    finally:
        os.close(descriptor)


def draft_of(path: str) -> str:
    """A name beside a file that nobody else has."""
    return "{}.{}".format(path, os.urandom(8).hex())


def write_file(path: str, content: bytes, flags: int = 0) -> None:
    """Write to a regular file, opened with these flags beside those for writing."""
    # Not through a link that a script has put there, nor into a pipe, which nobody may read.
    flags |= os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def put_in_place(draft: str, path: str) -> None:
    """Give a draft its name; a folder that has it is moved aside."""
    try:
        os.replace(draft, path)
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST):
            raise
        os.rename(path, draft_of(path))  # a folder, which a script has put there
        os.replace(draft, path)


def make_lasting(path: str) -> None:
    """Have a file or folder last through a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_file(path: str) -> None:
    """Remove a file, if it is one and there."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
        os.unlink(path)
