"""The verbs of this machine as they are asked for over a stream."""

import json
import os
import pwd
import struct
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Protocol

from . import blobs, handover, verbs
from .delivery import deliver
from .folder import TERMINAL, JobFolder
from .intake import BlobIntake
from .observer import Observer
from .wire import PART_BYTES

if TYPE_CHECKING:
    from .brought_tool import BroughtTools

_DIGEST_BYTES = 32


class Exchange(Protocol):
    """A question's body coming in, and the answer's going out."""

    is_abandoned: bool

    @property
    def is_heard(self) -> bool:
        """Whether there was a sign of life of the asker lately."""

    def parts(self) -> Iterator[bytes]:
        """The body of the question, as it comes in."""

    def send_part(self, content: bytes) -> None:
        """Send some of the answer's body."""


class _View:
    """What one asker, who asks again and again, has seen of the jobs it watches."""

    def __init__(self, root: str) -> None:
        self.lock = threading.Lock()
        self.observer = Observer(root)
        self.seen: Dict[str, Dict[str, Any]] = {}


class Host:
    """Answers the questions of one stream; several at once, each in the thread that brings it."""

    def __init__(self, root: str) -> None:
        os.makedirs(root, mode=0o700, exist_ok=True)
        self._root = root
        self._intake = BlobIntake(os.path.join(root, "blobs"))
        self._views: Dict[int, _View] = {}
        self._verbs: Dict[str, Callable[..., Any]] = {
            "missing": self._missing,
            "missing_of_snapshot": self._missing_of_snapshot,
            "begun": self._begun,
            "upload": self._upload,
            "start": self._start,
            "lay_down": self._lay_down,
            "await_claim": self._await_claim,
            "withdraw": self._withdraw,
            "bury": self._bury,
            "observe": self._observe,
            "cancel": self._cancel,
            "fetch": self._fetch,
            "leave_spare": self._leave_spare,
            "discard": self._discard,
            "list_jobs": self._list_jobs,
            "collect_blobs": self._collect_blobs,
            "list_environments": self._list_environments,
            "collect_environments": self._collect_environments,
            "lacks_uv": self._lacks_uv,
            "keep_uv": self._keep_uv,
            "examine": self._examine,
            "examine_spark": self._examine_spark,
        }

    def describe(self) -> Dict[str, Any]:
        """What an asker wants to know before anything else."""
        return {
            "root": self._root,
            "place": verbs.place(self._root),
            "user": _user(),
            "host": os.uname().nodename,
            "machine": os.uname().machine,
            "python": sys.executable,
            "python_version": sys.version.split()[0],
            "time": time.time(),  # last: to find the user may take a while
        }

    def answer(self, exchange: Exchange, verb: str, arguments: Dict[str, Any]) -> Any:
        """Do what is asked, and give the answer as JSON data."""
        return self._verbs[verb](exchange, **arguments)

    def _missing(self, exchange: Exchange) -> None:
        content = b"".join(exchange.parts())
        digests = [digest.hex() for (digest,) in struct.iter_unpack("32s", content)]
        _send_digests(exchange, blobs.missing(self._root, digests))

    def _missing_of_snapshot(self, exchange: Exchange, snapshot_id: str) -> bool:
        missing = blobs.missing_of_snapshot(self._root, snapshot_id)
        _send_digests(exchange, missing or [])
        return missing is not None

    def _begun(self, _: Exchange, digests: List[str]) -> Dict[str, int]:
        return self._intake.begun(digests)

    def _upload(self, exchange: Exchange) -> List[str]:
        return self._intake.take(exchange.parts())

    def _start(
        self,
        _: Exchange,
        spec: Dict[str, Any],
        variables: Dict[str, str],
        secrets: Optional[Dict[str, Any]],
    ) -> bool:
        inherited = dict(os.environ, **variables)
        completed = handover.complete(self._root, spec)
        return verbs.start(self._root, completed, inherited, secrets=secrets)

    def _lay_down(
        self, exchange: Exchange, spec: Dict[str, Any], secrets: Optional[Dict[str, Any]]
    ) -> bool:
        log = b"".join(exchange.parts())
        completed = handover.complete(self._root, spec)
        return handover.lay_down(self._root, completed, log, secrets)

    def _await_claim(self, _: Exchange, run_id: str, wait_seconds: float) -> bool:
        return handover.await_claim(self._root, run_id, wait_seconds)

    def _withdraw(self, _: Exchange, run_id: str) -> None:
        handover.withdraw(self._root, run_id)

    def _bury(self, _: Exchange, run_id: str, reason: str, exit_code: Optional[int]) -> None:
        verbs.bury(self._root, run_id, reason, exit_code)

    def _observe(
        self,
        exchange: Exchange,
        view: int,
        changed: Dict[str, Dict[str, Any]],
        dropped: List[str],
        wait_seconds: float,
    ) -> Dict[str, Any]:
        """The states that are new to this view, and the runs of it that are unknown here.

        The bytes of their logs and metrics are the body, in the order of the answer.
        """
        kept = self._views.setdefault(view, _View(self._root))
        with kept.lock:
            for run_id in dropped:
                kept.seen.pop(run_id, None)
            kept.seen.update(changed)
            found = kept.observer.observe(
                kept.seen,
                wait_seconds,
                is_abandoned=lambda: exchange.is_abandoned,
                is_heard=lambda: exchange.is_heard,
            )
            states = {
                run_id: state
                for run_id, state in found.items()
                if run_id in changed or _is_news(state, kept.seen[run_id])
            }
            unknown = [run_id for run_id in kept.seen if run_id not in found]
        for state in states.values():
            for stream in ("log", "metrics"):
                content = state[stream]
                state[stream] = len(content)
                _send_in_parts(exchange, content)
        return {"states": states, "unknown": unknown, "bereft": kept.observer.bereft}

    def _cancel(self, _: Exchange, run_id: str) -> None:
        verbs.cancel(self._root, run_id)

    def _fetch(self, exchange: Exchange, run_id: str, *, with_log: bool = True) -> List[str]:
        have = json.loads(b"".join(exchange.parts()) or b"{}")
        folder = JobFolder(self._root, run_id)
        return deliver(folder, have, exchange.send_part, with_log=with_log)

    def _leave_spare(self, _: Exchange, run_id: str) -> None:
        verbs.leave_spare(self._root, run_id)

    def _discard(self, _: Exchange, run_id: str) -> None:
        verbs.discard(self._root, run_id)

    def _list_jobs(self, _: Exchange) -> List[Dict[str, Any]]:
        return verbs.list_jobs(self._root)

    def _collect_blobs(
        self, _: Exchange, *, least_age_seconds: float, is_dry_run: bool
    ) -> Dict[str, int]:
        return verbs.collect_blobs(self._root, least_age_seconds, is_dry_run=is_dry_run)

    def _list_environments(self, _: Exchange) -> List[Dict[str, Any]]:
        return verbs.list_environments(self._root)

    def _collect_environments(
        self, _: Exchange, *, max_bytes: Optional[int], is_dry_run: bool
    ) -> List[Dict[str, Any]]:
        return verbs.collect_environments(self._root, max_bytes, is_dry_run=is_dry_run)

    def _lacks_uv(self, _: Exchange, request: Dict[str, Any], name: str) -> bool:
        return self._tools().lacks_uv(request, name)

    def _keep_uv(self, _: Exchange, digest: str, name: str) -> bool:
        return self._tools().keep_uv(digest, name)

    def _tools(self) -> "BroughtTools":
        from .brought_tool import BroughtTools  # noqa: PLC0415  # dear at start-up

        return BroughtTools(self._root)

    def _examine_spark(self, _: Exchange, **asked: Any) -> Dict[str, Any]:
        from .spark.examination import examine_spark  # noqa: PLC0415  # hardly ever needed

        return examine_spark(**asked)

    def _examine(self, _: Exchange, variables: Dict[str, str]) -> Dict[str, Any]:
        from .examination import examine  # noqa: PLC0415  # dear at start-up

        return examine(self._root, self._tools().uv(), variables)


def _is_news(state: Dict[str, Any], seen: Dict[str, Any]) -> bool:
    is_ended = state["status"] in TERMINAL
    is_moved = state["status"] != seen["status"] or "environment" in state
    return bool(is_ended or is_moved or state["log"] or state["metrics"])


def _send_digests(exchange: Exchange, digests: List[str]) -> None:
    _send_in_parts(exchange, b"".join(bytes.fromhex(digest) for digest in digests))


def _send_in_parts(exchange: Exchange, content: bytes) -> None:
    for start in range(0, len(content), PART_BYTES):
        exchange.send_part(content[start : start + PART_BYTES])


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run as a number that nobody has
        return str(os.getuid())
