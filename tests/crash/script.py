"""The training script of the crash tests: whatever is lost or doubled of it can be seen."""

from __future__ import annotations

from dataclasses import dataclass

LINES = 40
PREEMPTED = 75
_METRIC_EVERY = 5
_BURST_BYTES = 200_000  # more than a few pieces in one exchange

SCRIPT = f"""\
import fcntl, os, sys, time
import mltrain

diary, seconds, exit_code = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
if int(os.environ["MLTRAIN_RUN_ID"].partition("-p")[2] or 0) < int(sys.argv[4]):
    exit_code = {PREEMPTED}

def note(word):
    line = "%s %s %d\\n" % (word, os.environ["MLTRAIN_RUN_ID"], os.getpid())
    file = os.open(diary, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(file, line.encode())
    os.close(file)

def say(text):
    while text:
        text = text[os.write(1, text):]

note("start")
alone = os.open(diary + ".lock", os.O_RDWR | os.O_CREAT, 0o666)
try:
    fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    note("overlap")
    open(diary + ".overlap", "w").close()
run = mltrain.Run.get_context()
for number in range({LINES}):
    say(b"line %d \\xff\\n" % number)
    if number == {LINES // 2}:
        say(bytes(range(256)) * ({_BURST_BYTES} // 256) + b"\\n")
    if number % {_METRIC_EVERY} == 0:
        run.log("number", number)
    time.sleep(seconds / {LINES})
while len(sys.argv) > 5 and not os.path.exists(sys.argv[5]):
    time.sleep(0.05)
with open("outputs/model", "w") as model:
    model.write("trained")
note("end")
say(b"the last word")
sys.exit(exit_code)
"""


@dataclass(frozen=True)
class Story:
    """What the script is to do, and what has to be left of it."""

    seconds: float = 0.3
    exit_code: int = 0
    preemptions: int = 0  # before it comes to that exit code
    is_held: bool = False  # it goes on until another generation has begun beside it

    def arguments(self, diary: str) -> list[str]:
        """Its arguments; the diary has a line for each beginning and each end.

        And for each that began before another had ended. With the name of a file behind them, it
        goes on until there is that file.
        """
        told = [diary, str(self.seconds), str(self.exit_code), str(self.preemptions)]
        return [*told, f"{diary}.overlap"] if self.is_held else told

    def exit_code_of(self, generation: int) -> int:
        """What the script is to end with, where each generation goes on from a preempted one."""
        return PREEMPTED if generation <= self.preemptions else self.exit_code

    @property
    def log(self) -> bytes:
        """All that it says."""
        lines = [b"line %d \xff\n" % number for number in range(LINES)]
        burst = bytes(range(256)) * (_BURST_BYTES // 256) + b"\n"
        return b"".join([*lines[: LINES // 2 + 1], burst, *lines[LINES // 2 + 1 :]]) + (
            b"the last word"
        )

    @property
    def metrics(self) -> list[int]:
        """All that it logs as `number`."""
        return list(range(0, LINES, _METRIC_EVERY))


BRIEF = Story()
