"""Removing folders, also what their user has protected."""

import contextlib
import os
import stat


def make_removable(path: str) -> None:
    """Let the owner empty the folder and those in it that a script has protected."""
    open_up(path)
    for parent, folders, _ in os.walk(path):
        for name in folders:
            open_up(os.path.join(parent, name))


def remove(path: str) -> None:
    """Remove a folder with all it holds, or a link to one; nothing where there is none.

    Another process may be at it too.
    """
    import shutil  # noqa: PLC0415  # dear at start-up, and seldom needed

    if os.path.islink(path):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    while os.path.lexists(path):
        try:
            make_removable(path)
            shutil.rmtree(path)
        except FileNotFoundError:
            continue  # another was faster with a part of it


def open_up(folder: str) -> bool:
    """Let the owner use the folder again, where a script has shut it; not what a link leads to.

    False where it was open, or is none.
    """
    mode = os.lstat(folder).st_mode
    is_shut = stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU
    if is_shut:
        os.chmod(folder, 0o700)
    return is_shut
