"""spark-submit in deploy mode `cluster`: how it is begun, and what it says."""

import os
import re
import signal
import subprocess
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Union

from .. import process
from ..folder import JobFolder
from .command import (
    KEYTAB,
    TICKETS,
    Scratch,
    encode_properties,
    find_java,
    find_submit,
    read_defaults,
)
from .master import MasterError, UnheardError
from .secret_property import has_secret

_LOOK_SECONDS = 0.1
_PATIENCE_SECONDS = 60.0  # of a question, which begins a Java
_SUBMIT_SECONDS = 1800.0  # it may have to bring packages first
_SHOWN_LINES = 8
_MOST_BYTES = 4 * 2**20  # of an answer
_CALM = re.compile(r"^\S+ \S+ (INFO|DEBUG|TRACE) |^\s*(at |\.\.\. )|^\s*$|^WARNING: ")
_LAST_FAULT = "Exception in thread "  # what comes before was got over
_UNHEARD = re.compile(
    r"(Connect|Socket|Timeout|UnknownHost|NoRouteToHost|EOF|ClosedChannel|Standby)\w*Exception"
    r"|Connection (refused|reset)|Failed to connect|No route to host|\bcode=(429|5\d\d)\b"
)
_PACKAGE = "unresolved dependency"  # whose repository was not reached
_FOR_SUBMITTING = "spark.kubernetes.authenticate."


class Answer(NamedTuple):
    """What a program said, on both streams, and how it ended."""

    exit_code: int
    words: str
    is_cut: bool = False  # at its beginning

    def last_words(self) -> str:
        """The last lines that are no mere information, as one."""
        lines = [line.strip() for line in self.words.splitlines() if not _CALM.match(line)]
        return "; ".join(lines[-_SHOWN_LINES:]) or "it said nothing"


class Submission:
    """The spark-submit of one run, with the files that it is given; `close` removes them."""

    def __init__(self, folder: JobFolder, told: Dict[str, Any], secrets: Dict[str, Any]) -> None:
        """Raises LaunchError where it cannot be begun here."""
        self.run_id = str(told["run_id"])
        self.master = str(told["master"])
        self._code, self._keytab = folder.code, secrets["keytab"]
        self.variables = dict(os.environ)
        self._program = find_submit(told["command"][0], self.variables)
        find_java(self.variables)
        given = dict(read_defaults(self._program, self.variables), **secrets["properties"])
        # A master keeps and shows what it is given: the script's launcher gives these to the Java.
        withheld = set(secrets["secret_names"])
        withheld.update(name for name, value in given.items() if has_secret(name, value))
        self.properties = {
            name: value
            for name, value in given.items()
            if name.startswith(_FOR_SUBMITTING) or name not in withheld
        }
        self._words = list(told["command"][1:])
        self.scratch = Scratch(folder)
        if self._keytab is not None:
            import base64  # noqa: PLC0415  # hardly ever needed

            keytab = self.scratch.write("keytab", base64.b64decode(self._keytab))
            self._words = [keytab if word == KEYTAB else word for word in self._words]

    def property(self, name: str) -> Optional[str]:
        """What Spark will take for a property, by its command line or the files."""
        setting = name + "="
        said = [word[len(setting) :] for word in self._words if word.startswith(setting)]
        return said[-1] if said else self.properties.get(name)

    def submit(
        self, properties: Dict[str, str], application: List[str], check: Callable[[], None]
    ) -> Answer:
        """Have the application put on the cluster; ended by what `check` raises.

        UnheardError where that takes more than half an hour.
        """
        argv = [*self._words, *self._file(properties), *application]
        return self.run([self._program, *argv], check, _SUBMIT_SECONDS)

    def ask(self, *words: str, check: Callable[[], None]) -> Answer:
        """Have spark-submit ask its master; UnheardError where it does not end."""
        argv = [self._program, "--master", self.master, *self._file({}), *words]
        return self.run(argv, check)

    def has_keytab(self) -> bool:
        """Whether programs that know no keytab have to be given a ticket."""
        return self._keytab is not None

    def log_in(self, kinit: str, check: Callable[[], None]) -> None:
        """Have a ticket by the keytab, for some hours; UnheardError where none is to be had."""
        self.variables["KRB5CCNAME"] = self.scratch.file(TICKETS)
        words = self._words
        principal, keytab = (words[words.index(name) + 1] for name in ("--principal", "--keytab"))
        answer = self.run([kinit, "-k", "-t", keytab, principal], check)
        if answer.exit_code != 0:
            raise UnheardError("kinit: " + answer.last_words())

    def run(
        self,
        argv: List[str],
        check: Callable[[], None],
        patience: float = _PATIENCE_SECONDS,
    ) -> Answer:
        """Run a program to its end, or until `check` raises; it is quiet about what it is told.

        Of what it says, the last 4 MiB count.
        """
        own_pid = os.getpid()
        path = self.scratch.file("answer")
        with open(path, "w+b") as words:
            child = subprocess.Popen(
                argv,
                cwd=self._code,
                env=self.variables,
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                start_new_session=True,
                preexec_fn=lambda: process.die_with(own_pid),  # noqa: PLW1509  # no threads here
            )
            deadline = time.monotonic() + patience
            try:
                while child.poll() is None:
                    check()
                    if time.monotonic() > deadline:
                        fault = "{} did not end in {:.0f} s"
                        raise UnheardError(fault.format(os.path.basename(argv[0]), patience))
                    time.sleep(_LOOK_SECONDS)
            finally:
                _end(child)
            surplus = words.seek(0, os.SEEK_END) - _MOST_BYTES
            words.seek(max(0, surplus))
            said = words.read(_MOST_BYTES).decode(errors="replace")
            return Answer(child.returncode, said, surplus > 0)

    def close(self) -> None:
        """Remove what may be secret."""
        self.scratch.remove()

    def _file(self, properties: Dict[str, str]) -> List[str]:
        content = encode_properties({**self.properties, **properties})
        return ["--properties-file", self.scratch.write("properties", content)]


def judge_failure(answer: Answer, what: str) -> Union[MasterError, UnheardError]:
    """What to raise for a submission that put nothing on the cluster, as far as is seen."""
    fault = answer.words.rpartition(_LAST_FAULT)[2]
    if _UNHEARD.search(fault) and _PACKAGE not in fault:
        return UnheardError("spark-submit: " + answer.last_words())
    words = "{} (spark-submit ended with exit code {}): {}"
    return MasterError(words.format(what, answer.exit_code, answer.last_words()))


def _end(child: "subprocess.Popen[bytes]") -> None:
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
