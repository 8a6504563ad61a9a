"""The process that has a job's environment ready: it resolves, builds, and makes room."""

import contextlib
import errno
import os
import signal
import sys
import time
from typing import (
    Any,
    Callable,
    ContextManager,
    Dict,
    Iterator,
    List,
    NamedTuple,
    NoReturn,
    Optional,
    Protocol,
)

from .. import file_lock
from ..folder import JobFolder
from ..installer import installation
from ..installer.tool import InstallError, Tools
from ..plain_file import read_from, size_of
from ..secret import take_over
from .cache import EnvironmentCache
from .credential import CredentialError, Credentials, read_credentials, write_netrc
from .interpreter import InterpreterNotFoundError, ask_interpreter
from .key import Foundation, key_of
from .private_wheel import materialise, refer
from .tree import Draft

_LOOK_SECONDS = 0.05
_JUST_USED_SECONDS = 60.0  # built for a job that has yet to take hold of it
_REASON_CHARACTERS = 4000
_LOG_END_BYTES = 64 * 1024
_EXPECTED = (InstallError, InterpreterNotFoundError, CredentialError, OSError)


class Installer(Protocol):
    """What finds out and installs packages: the module `installation`, which documents it."""

    def find_tools(self, brought_uv: Optional[str]) -> Tools:
        """The programs there are for it."""

    def resolve(
        self, recipe: Dict[str, Any], python: str, work: str, tools: Tools
    ) -> Optional[Dict[str, Any]]:
        """The exact packages; None where only building tells."""

    def build(
        self,
        tree: str,
        recipe: Dict[str, Any],
        lock: Optional[Dict[str, Any]],
        python: str,
        work: str,
        tools: Tools,
    ) -> Dict[str, Any]:
        """Make the environment; the exact packages in it."""


class _Site(NamedTuple):
    """Where an environment is being made, on what, and with which programs."""

    draft: Draft
    foundation: Foundation
    tools: Tools

    @property
    def python(self) -> str:
        interpreter = self.foundation.interpreter
        return "" if interpreter is None else interpreter.path


class Builder:
    """Has one job's environment ready in the cache; `blobs` is where private wheels arrived."""

    def __init__(
        self,
        cache: EnvironmentCache,
        request: Dict[str, Any],
        blobs: str,
        own_installer: Installer = installation,
    ) -> None:
        self._cache = cache
        self._request = request
        self._recipe: Dict[str, Any] = request["recipe"]
        self._blobs = blobs
        self._installer = own_installer

    def run(self, credentials: Credentials) -> None:
        """Build what is not there yet; several may try at once, and one of them does it.

        InterpreterNotFoundError, CredentialError, InstallError, and OSError for a full disk and
        the like: then nothing half-built is in use, and it may be tried again.
        """
        self._cache.collect(None)
        foundation = self._cache.find_foundation(self._request)
        lock = self._cache.find_lock(self._request, foundation.platform)
        if lock is not None and self._cache.is_ready(key_of(lock, foundation)):
            return
        with self._cache.open_draft() as draft:
            if credentials:
                write_netrc(credentials, os.path.join(draft.work, "netrc"))
            site = _Site(draft, foundation, self._installer.find_tools(self._request["uv"]))
            if lock is None:
                lock = self._resolve(site)
            if lock is not None:
                self._build(site, lock)
        self._cache.collect(self._request["max_cache_bytes"], idle_seconds=_JUST_USED_SECONDS)

    def _resolve(self, site: _Site) -> Optional[Dict[str, Any]]:
        """The recipe's exact packages; None where they had to be installed to be known."""
        platform = site.foundation.platform
        path = self._cache.resolution_lock(self._request["recipe_id"], platform)
        while True:
            lock = self._cache.find_lock(self._request, platform)
            if lock is not None:
                return lock
            with self._hold(path, lambda: self._is_resolved(platform), "resolves") as is_held:
                if is_held and not self._is_resolved(platform):
                    return self._resolve_first(site)

    def _is_resolved(self, platform: str) -> bool:
        return self._cache.find_lock(self._request, platform) is not None

    def _resolve_first(self, site: _Site) -> Optional[Dict[str, Any]]:
        tool = _tool_name(self._recipe, site.tools)
        self._say("is not on this machine yet: resolving its packages with " + tool)
        recipe, python = self._located_recipe(), site.python
        lock = self._installer.resolve(recipe, python, site.draft.work, site.tools)
        if lock is not None:
            lock = _without_paths(lock)
            self._keep(site, lock)
            return lock
        started = time.monotonic()
        lock = _without_paths(self._install(site, None))
        key = key_of(lock, site.foundation)
        with self._hold_key(key) as is_held:
            if is_held and not self._cache.is_ready(key):
                self._publish(site, key, lock, started)
        self._keep(site, lock)  # last: who learns of the lock finds the environment ready
        return None

    def _keep(self, site: _Site, lock: Dict[str, Any]) -> None:
        platform = site.foundation.platform
        self._cache.keep_lock(self._request["recipe_id"], platform, lock, site.draft)

    def _build(self, site: _Site, lock: Dict[str, Any]) -> None:
        key = key_of(lock, site.foundation)
        with self._hold_key(key) as is_held:
            if is_held and not self._cache.is_ready(key):
                started = time.monotonic()
                self._install(site, lock)
                self._publish(site, key, lock, started)

    def _install(self, site: _Site, lock: Optional[Dict[str, Any]]) -> Dict[str, Any]:
        self._say("is being built with " + _tool_name(self._recipe, site.tools))
        located = lock and dict(lock, packages=self._locate(lock["packages"]))
        draft, recipe = site.draft, self._located_recipe()
        done = self._installer.build(
            draft.path, recipe, located, site.python, draft.work, site.tools
        )
        if not os.access(os.path.join(draft.path, "bin", "python"), os.X_OK):
            raise InstallError("the environment was built, and there is no bin/python in it")
        return done

    def _publish(self, site: _Site, key: str, lock: Dict[str, Any], started: float) -> None:
        resolved = {
            "key": key,
            "recipe_id": self._request["recipe_id"],
            "platform": site.foundation.platform,
            "python": _version(site),
            "packages": lock["packages"],
            "conda": lock["conda"],
        }
        size = self._cache.publish(site.draft, self._request["name"], resolved)
        seconds = time.monotonic() - started
        self._say("was built in {:.1f} s, {:.0f} MB".format(seconds, size / 1e6))

    def _located_recipe(self) -> Dict[str, Any]:
        return dict(self._recipe, packages=self._locate(self._recipe["packages"]))

    def _locate(self, packages: List[str]) -> List[str]:
        return materialise(packages, self._blobs, self._cache.wheels)

    def _hold_key(self, key: str) -> ContextManager[bool]:
        return self._hold(self._cache.key_lock(key), lambda: self._cache.is_ready(key), "builds")

    @contextlib.contextmanager
    def _hold(self, path: str, is_done: Callable[[], bool], verb: str) -> Iterator[bool]:
        """Wait for the lock of a file; False, without it, once another did what it is for."""
        is_told = False
        while True:
            with file_lock.exclusive(path) as is_held:
                if is_held or is_done():
                    yield is_held
                    return
            if not is_told:
                self._say("is what another run {} already: waiting".format(verb))
                is_told = True
            time.sleep(_LOOK_SECONDS)

    def _say(self, words: str) -> None:
        say("environment {} {}".format(self._request["name"], words))


def say(words: str) -> None:
    """Add a line to the job's log, past the buffers that the tools do not share."""
    with contextlib.suppress(OSError):  # the disk may be full, which is what it would say
        os.write(1, "[mltrain] {}\n".format(words).encode(errors="replace"))


def main(argv: List[str], own_installer: Installer = installation) -> None:
    """Have the environment of one job ready; `argv`: root and run id. Prints to the job's log.

    Credentials come by standard input, as `secret.hand_over` gives them.

    Exits with 1 where it failed, and leaves the reason in the job's folder.
    """
    signal.signal(signal.SIGTERM, _end)
    root, run_id = argv
    folder = JobFolder(root, run_id)
    request = folder.read_spec()["environment"]
    try:
        credentials = read_credentials(take_over())
        cache = EnvironmentCache(folder.environments)
        Builder(cache, request, folder.blobs, own_installer).run(credentials)
    except _EXPECTED as error:
        reason = _explain(request["name"], folder.environments, error)
        _note_fault(folder, reason[-_REASON_CHARACTERS:])
        _repeat(folder, reason)
        sys.exit(1)


def _end(signal_number: int, _frame: object) -> NoReturn:
    """Leave by the way of an error: the scratch folder, which may hold secrets, is removed."""
    sys.exit(128 + signal_number)


def _without_paths(lock: Dict[str, Any]) -> Dict[str, Any]:
    return {"packages": sorted(refer(lock["packages"])), "conda": lock["conda"]}


def _tool_name(recipe: Dict[str, Any], tools: Tools) -> str:
    if recipe["conda"] is not None:
        return os.path.basename(tools.conda or "conda")
    return "pip" if tools.uv is None else "uv"


def _version(site: _Site) -> str:
    interpreter = site.foundation.interpreter
    if interpreter is None:
        interpreter = ask_interpreter(os.path.join(site.draft.path, "bin", "python"))
    return "" if interpreter is None else interpreter.version


def _explain(name: str, environments: str, error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    reason = "environment {} could not be built: {}".format(name, error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        reason += "; make room on the disk of {}".format(environments)
    return reason


def _note_fault(folder: JobFolder, reason: str) -> None:
    draft = folder.preparation_fault + ".draft"
    with contextlib.suppress(OSError):  # the log has it too
        with open(draft, "w", encoding="utf-8", errors="replace") as file:
            file.write(reason)
        os.replace(draft, folder.preparation_fault)


def _repeat(folder: JobFolder, reason: str) -> None:
    """Put into the log what of the reason is not there yet: tools have said their part."""
    start = max(0, size_of(folder.log) - _LOG_END_BYTES)
    said = read_from(folder.log, start, _LOG_END_BYTES).decode(errors="replace")
    for line in reason.splitlines():
        if line.strip() and line.strip() not in said:
            say(line)


if __name__ == "__main__":
    main(sys.argv[1:])
