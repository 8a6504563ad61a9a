"""What git knows about a source directory: annotation, never needed to run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
import weakref
from contextlib import suppress
from selectors import EVENT_READ, DefaultSelector
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_DIFF_LIMIT_BYTES = 5_000_000
_COMMANDS = {
    "repository_uri": ["ls-remote", "--get-url"],
    "branch": ["symbolic-ref", "--short", "-q", "HEAD"],
    "commit": ["rev-parse", "--verify", "-q", "HEAD"],
    "status": ["status", "--porcelain", "--untracked-files=normal", "--", "."],
    "diff": [
        *("diff", "HEAD", "--binary", "--no-color", "--no-ext-diff", "--no-textconv"),
        *("--no-relative", "--src-prefix=a/", "--dst-prefix=b/", "--", "."),
    ],
}
# What is read of an answer at most; of the status, only whether it is empty counts.
_LIMITS = {"status": 0, "diff": _DIFF_LIMIT_BYTES}
_ANSWER_LIMIT_BYTES = 64_000
_OVERRIDES = {
    fact: f"AZUREML_GIT_{fact.upper()}"
    for fact in ("repository_uri", "branch", "commit", "dirty", "build_id", "build_uri")
}
_MLFLOW_NAMES = {"repository_uri": "repoURL", "branch": "branch", "commit": "commit"}
_OWN_ENVIRONMENT = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
# A hook's environment names its own repository, which need not be the source directory's.
_FOREIGN = re.compile(
    "GIT_(DIR|WORK_TREE|INDEX_FILE|COMMON_DIR|PREFIX|NAMESPACE|(ALTERNATE_)?OBJECT_DIRECTOR(Y|IES)"
    "|EXTERNAL_DIFF|DIFF_OPTS|TRACE.*)"
)
_SSH_SCHEMES = {"ssh", "git+ssh", "ssh+git"}


class GitAnnotation(NamedTuple):
    """Properties for the run, named as Azure ML names them, and the uncommitted changes.

    The diff is a patch from the repository's root, of at most 5 MB; untracked files are not in it.
    """

    properties: dict[str, str]
    diff: bytes


class PendingAnnotation:
    """Git at work; an annotation that is dropped instead of collected stops it."""

    def __init__(self, commands: Mapping[str, subprocess.Popen[bytes]]) -> None:
        self._commands = commands
        self._stop = weakref.finalize(self, _stop, list(commands.values()))

    def collect(self, timeout_seconds: float = 10) -> GitAnnotation:
        """What git said by then; what fails or takes longer is left out, and nothing is raised.

        Git has ended afterwards, so that only the first call finds anything.
        """
        deadline = time.monotonic() + timeout_seconds
        commands, self._commands = self._commands, {}
        answers = {
            name: _read(process, _LIMITS.get(name, _ANSWER_LIMIT_BYTES), deadline)
            for name, process in commands.items()
        }
        self._stop()
        diff = answers.get("diff") or b""
        properties = _describe(answers)
        if len(diff) > _DIFF_LIMIT_BYTES:
            properties["mltrain.git_diff_truncated"] = "True"
        return GitAnnotation(properties, diff[:_DIFF_LIMIT_BYTES])


def start_git_annotation(source_directory: Path) -> PendingAnnotation | None:
    """Set git to work in the background; None where there is no repository or no git.

    The variables AZUREML_GIT_REPOSITORY_URI, _BRANCH, _COMMIT, _DIRTY, _BUILD_ID and _BUILD_URI
    say what git cannot know, and count without a repository too.
    """
    source = source_directory.absolute()
    program = shutil.which("git") if _is_in_repository(source) else None
    if program is None:
        return PendingAnnotation({}) if _find_overrides() else None
    environment = {
        name: value for name, value in os.environ.items() if not _FOREIGN.fullmatch(name)
    }
    commands = {}
    for name, arguments in _COMMANDS.items():
        with suppress(OSError):
            commands[name] = subprocess.Popen(  # noqa: S603 - fixed words, no shell
                [program, "-c", "core.fsmonitor=false", *arguments],
                cwd=source,
                env=environment | _OWN_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
    return PendingAnnotation(commands)


def _is_in_repository(source: Path) -> bool:
    try:
        return any((place / ".git").exists() for place in (source, *source.parents))
    except OSError:
        return False


def _read(process: subprocess.Popen[bytes], limit: int, deadline: float) -> bytes | None:
    """The command's output, cut soon after the limit; None if it failed or takes too long."""
    answer = b""
    stream = process.stdout
    if stream is None:
        return None
    with DefaultSelector() as selector:
        selector.register(stream, EVENT_READ)
        while len(answer) <= limit:
            if not selector.select(max(0, deadline - time.monotonic())):
                return None
            data = os.read(stream.fileno(), 1 << 16)
            if not data:
                break
            answer += data
        else:
            return answer
    try:
        return answer if process.wait(max(0, deadline - time.monotonic())) == 0 else None
    except subprocess.TimeoutExpired:
        return None


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
        if process.stdout is not None:
            process.stdout.close()
        process.wait()


def _describe(answers: Mapping[str, bytes | None]) -> dict[str, str]:
    facts = {
        fact: answer.decode("utf-8", "replace").strip()
        for fact in _MLFLOW_NAMES
        if (answer := answers.get(fact)) is not None
    }
    status = answers.get("status")
    if status is not None:
        facts["dirty"] = str(status != b"")
    facts |= _find_overrides()
    facts["repository_uri"] = _strip_credentials(facts.get("repository_uri", ""))
    known = {fact: value for fact, value in facts.items() if value}
    properties = {f"azureml.git.{fact}": value for fact, value in known.items()}
    for fact, name in _MLFLOW_NAMES.items():
        if fact in known:
            properties[f"mlflow.source.git.{name}"] = known[fact]
    return properties


def _find_overrides() -> dict[str, str]:
    return {fact: os.environ[name] for fact, name in _OVERRIDES.items() if os.environ.get(name)}


def _strip_credentials(url: str) -> str:
    """The URL without password, token and query; nothing where they cannot be told apart."""
    if "://" not in url:
        # Without a remote, git answers with the name that it looked for.
        is_address = "/" in url or ":" in url
        return re.sub(r"^[^/@]*:[^/@]*@", "", url) if is_address else ""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return ""
    account, _, host = parts.netloc.rpartition("@")
    if parts.scheme in _SSH_SCHEMES and account:
        host = f"{account.partition(':')[0]}@{host}"
    return parts._replace(netloc=host, query="", fragment="").geturl()
