"""The first thing that a driver's Python runs: it becomes the script, as if nothing were between.

Arguments and output would change on their way through a Java virtual machine. So the script's
words come from a file, and what it prints goes straight into the log.
"""

import os
import signal
import sys

WORDS_VARIABLE = "MLTRAIN_SPARK_WORDS"
LOG_VARIABLE = "MLTRAIN_SPARK_LOG"


def main() -> None:
    """Go on as the script; its environment is that of any other job, and Spark's gateway."""
    log = os.open(os.environ.pop(LOG_VARIABLE), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which its Java ignores
    path = os.environ.pop(WORDS_VARIABLE)
    with open(path, "rb") as file:
        words = file.read().split(b"\0")
    os.unlink(path)  # shows that the script has begun
    os.execv(sys.executable, [os.fsencode(sys.executable), *words])  # noqa: S606  # no shell is wanted


if __name__ == "__main__":
    main()
