"""What a container answers, on its standard output, to whoever ordered its job."""

import contextlib
import os

# The latter is also what a container says that finds no job agent on its volume.
CLAIMED, LACKING = b"[mltrain] claimed\n", b"[mltrain] lacking\n"
_STDOUT = 1


def answer(words: bytes) -> None:
    """Tell the sender, if it is still there, what became of its order."""
    with contextlib.suppress(OSError):
        os.write(_STDOUT, words)
