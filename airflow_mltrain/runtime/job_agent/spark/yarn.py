"""YARN, which is asked through spark-submit and Hadoop's program `yarn`."""

import hashlib
import os
import re
import shutil
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from .command import LaunchError
from .master import DriverStatus, Invitation, Phase, UnheardError
from .submission import Answer, Submission, judge_failure

_APPLICATION = re.compile(r"\bapplication_\d+_\d+\b")
_CONTAINER = re.compile(r"container_(?:e\d+_)?(\d+_\d+)_\d+_\d+")
_PAGES = re.compile(r"tracking URL: (https?://\S+)")
_FIELD = re.compile(r"^\t([A-Z][A-Za-z -]*?) : ?(.*)$")
_NOT_THERE = re.compile(r"doesn't exist in RM")
# Its container is seen to have ended; otherwise a node that nobody hears may still run it.
_SEEN_TO_END = re.compile(r"exited with\s+exitCode: (?!-)")
_NO_TICKET = re.compile(
    r"GSS initiate failed|[Nn]o valid credentials|Client cannot authenticate via"
    r"|Failed to find any Kerberos tgt"
)
_STATE_COLUMN = 5  # of a list, after tabs
_FINISHED, _FAILED, _KILLED = "FINISHED", "FAILED", "KILLED"
_LONGEST_NAME, _DIGITS = 80, 10  # of a tag, which has at most 100 letters
_ENDLESS = "3650d"  # the script begins after its files have come, and may make its session late
_LOG_FILES = "stdout,stderr"  # others have the variables of the application in them
_LOG_SECONDS, _LOG_PAUSE_SECONDS = 20.0, 2.0


class Listed(NamedTuple):
    """An application, as `yarn application -list` shows it."""

    application_id: str
    state: str

    @property
    def is_over(self) -> bool:
        """Whether YARN has done with it."""
        return self.state in (_FINISHED, _FAILED, _KILLED)


class YarnMaster:
    """Puts the drivers of one run on YARN as application masters, under a tag of the run."""

    pause_seconds = 5.0
    driver_is_java = True
    log_place = "spark.log among the run's files, or `yarn logs`"
    remedy = (
        "see that HADOOP_CONF_DIR, in `environment_variables` of the compute target's settings, "
        "has the cluster's configuration, and that its ResourceManager runs"
    )

    def __init__(self, told: Dict[str, Any], submission: Submission) -> None:
        self._told, self._submission = told, submission
        self._tag = tag_of(submission.run_id)
        self._yarn = find_yarn(submission.variables)
        self._kinit = find_kinit(submission.variables) if submission.has_keytab() else None
        self._has_asked = self._is_logged_in = False
        self._pages: Optional[str] = None
        self._state = self._diagnosis = ""

    def addresses(self) -> List[Tuple[str, int]]:
        return []  # known to Hadoop's configuration alone

    def submit(self, invitation: Invitation, check: Callable[[], None]) -> str:
        if self._has_asked:
            found = self._list(check)
            if found:
                return self._first(found)
        self._has_asked = True
        program = self._submission.scratch.write("mltrain_entry.py", invitation.program.encode())
        answer = self._submission.submit(self._properties(invitation), [program], check)
        named = _APPLICATION.search(answer.words)
        pages = _PAGES.search(answer.words)
        self._pages = pages.group(1) if pages else None
        if answer.exit_code == 0 and named:
            return named.group()
        found = self._list(check)
        if found:
            return self._first(found)
        if answer.exit_code == 0:
            raise UnheardError("spark-submit named no application, and none has its tag")
        raise judge_failure(answer, "YARN did not take the driver")

    def find_drivers(self, check: Callable[[], None]) -> List[str]:
        return [one.application_id for one in self._list(check) if not one.is_over]

    def id_of(self, caller: str) -> str:
        match = _CONTAINER.fullmatch(caller)
        return "application_" + match.group(1) if match else caller

    def status(self, driver: str, check: Callable[[], None]) -> Optional[DriverStatus]:
        answer = self._ask(["application", "-status", driver], check)
        if _NOT_THERE.search(answer.words):
            return None
        fields = read_report(answer.words)
        if "State" not in fields:
            raise UnheardError("yarn application -status: " + answer.last_words())
        host = fields.get("AM Host", "")
        self._state, self._diagnosis = fields["State"], fields.get("Diagnostics", "")
        return DriverStatus(
            _phase(self._state, self._diagnosis),
            _describe(self._state, fields.get("Final-State", ""), self._diagnosis),
            host if host not in ("", "N/A", "null") else None,
        )

    def kill(self, driver: str, check: Callable[[], None]) -> None:
        answer = self._ask(["application", "-kill", driver], check)
        if answer.exit_code != 0:
            raise UnheardError("yarn application -kill: " + answer.last_words())

    def is_hopeless(self) -> bool:
        return False  # what no node can have is refused by spark-submit

    def describe_room(self) -> str:
        words = "YARN has it as accepted: its queue has no room, or it has begun and not called"
        return words + (" ({})".format(self._diagnosis) if self._diagnosis else "")

    def facts(self, driver: str) -> Dict[str, str]:
        facts = {"spark.application_id": driver}
        if self._pages is not None:
            facts["spark.ui_url"] = self._pages
        return facts

    def save_log(self, driver: str, path: str) -> str:
        is_to_come = self._state in (_FINISHED, _FAILED)
        asked = ["logs", "-applicationId", driver, "-am", "1"]
        deadline = time.monotonic() + (_LOG_SECONDS if is_to_come else 0)
        while True:
            answer = self._ask([*asked, "-log_files", _LOG_FILES], lambda: None)
            if answer.exit_code == 0 and "LogType:" in answer.words:
                break
            if time.monotonic() > deadline:
                return "YARN gives no log of the driver yet: yarn {}".format(" ".join(asked))
            time.sleep(_LOG_PAUSE_SECONDS)  # logs are gathered once an application has ended
        with open(path, "w", encoding="utf-8") as file:
            file.write(answer.words)
        if answer.is_cut:
            words = "spark.log is the end of what the driver's Java said; all of it: yarn {}"
            return words.format(" ".join(asked))
        return ""

    def close(self) -> None:
        self._submission.close()

    def _properties(self, invitation: Invitation) -> Dict[str, str]:
        tags = self._submission.property("spark.yarn.tags")
        properties = {
            "spark.yarn.tags": ",".join(filter(None, (tags, self._tag))),
            "spark.yarn.maxAppAttempts": "1",  # another would be another driver
            "spark.yarn.submit.waitAppCompletion": "false",
            "spark.yarn.am.waitTime": _ENDLESS,
            "spark.pyspark.driver.python": self._told["worker_python"],
        }
        if self._told["driver_cores"]:
            properties["spark.driver.cores"] = str(self._told["driver_cores"])
        for name, value in invitation.variables.items():
            properties["spark.yarn.appMasterEnv." + name] = value
        return properties

    def _list(self, check: Callable[[], None]) -> List[Listed]:
        words = ["application", "-list", "-appTags", self._tag, "-appStates", "ALL"]
        answer = self._ask(words, check)
        if answer.exit_code != 0:
            raise UnheardError("yarn application -list: " + answer.last_words())
        return read_list(answer.words)

    @staticmethod
    def _first(found: List[Listed]) -> str:
        """One that lives, if there is any."""
        return min(found, key=lambda one: one.is_over).application_id

    def _ask(self, words: List[str], check: Callable[[], None]) -> Answer:
        argv = [self._yarn, *words]
        if self._kinit is not None and not self._is_logged_in:
            self._submission.log_in(self._kinit, check)
            self._is_logged_in = True
        answer = self._submission.run(argv, check)
        if self._kinit is not None and _NO_TICKET.search(answer.words):  # any more
            self._submission.log_in(self._kinit, check)
            answer = self._submission.run(argv, check)
        return answer


def find_yarn(variables: Dict[str, str]) -> str:
    """The path of Hadoop's program `yarn`; LaunchError where it is not there."""
    homes = [variables.get(name) for name in ("HADOOP_YARN_HOME", "HADOOP_HOME")]
    places = [os.path.join(home, "bin") for home in homes if home]
    path = os.pathsep.join([*places, variables.get("PATH", os.defpath)])
    found = shutil.which("yarn", path=path)
    if found is None:
        words = (
            "there is no program 'yarn' where the driver is submitted, by which its application "
            "is found and ended: install the cluster's Hadoop client there, and name its folder "
            "as HADOOP_HOME in `environment_variables` of the compute target's settings"
        )
        raise LaunchError(words, exit_code=127)
    return found


def find_kinit(variables: Dict[str, str]) -> str:
    """The path of Kerberos's program `kinit`; LaunchError where it is not there."""
    found = shutil.which("kinit", path=variables.get("PATH", os.defpath))
    if found is None:
        words = (
            "there is no program 'kinit' where the driver is submitted, by which the connection's "
            "keytab gives `yarn` a ticket: install that of Kerberos there"
        )
        raise LaunchError(words, exit_code=127)
    return found


def tag_of(run_id: str) -> str:
    """The tag of a run's applications, as YARN has tags: short, ASCII, in small letters.

    No other run has it: whatever has it is ended with the run.
    """
    digest = hashlib.sha256(run_id.encode()).hexdigest()[:_DIGITS]
    readable = re.sub(r"[^a-z0-9._-]", "-", run_id.lower())[:_LONGEST_NAME]
    return "mltrain-{}-{}".format(readable, digest)


def read_list(words: str) -> List[Listed]:
    """The applications that `yarn application -list` shows."""
    found = []
    for line in words.splitlines():
        columns = [column.strip() for column in line.split("\t")]
        if _APPLICATION.fullmatch(columns[0]) and len(columns) > _STATE_COLUMN:
            found.append(Listed(columns[0], columns[_STATE_COLUMN]))
    return found


def read_report(words: str) -> Dict[str, str]:
    """The fields of `yarn application -status`; a text of several lines is one line here."""
    found: Dict[str, str] = {}
    name = ""
    for line in words.splitlines():
        match = _FIELD.match(line)
        if match:
            name = match.group(1)
            found.setdefault(name, match.group(2).strip())
        elif name == "Diagnostics" and line.strip():
            found[name] = (found[name] + " " + line.strip()).strip()
    return found


def _phase(state: str, diagnosis: str) -> Phase:
    if state == "RUNNING":
        return Phase.RUNNING
    if state == _FINISHED or (state == _FAILED and _SEEN_TO_END.search(diagnosis)):
        return Phase.OVER
    return Phase.SUPPOSED_OVER if state in (_FAILED, _KILLED) else Phase.WAITING


def _describe(state: str, final: str, diagnosis: str) -> str:
    words = state if final in ("", "UNDEFINED", state) else "{}, {}".format(state, final)
    return "{} ({})".format(words, diagnosis) if diagnosis not in ("", "N/A") else words
