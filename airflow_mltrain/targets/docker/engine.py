"""A Docker engine, reached as Airflow's Docker hook reaches it."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import sha256
from typing import Any, Final

import requests
from docker import APIClient
from docker.errors import APIError, DockerException, NotFound

from airflow_mltrain.errors import ConfigurationError, TargetUnreachableError
from airflow_mltrain.targets.docker.config import DockerTargetConfig
from airflow_mltrain.targets.docker.failure import explain_no_engine, words_of

_TIMEOUT_SECONDS: Final = 60
_BUNDLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_SERVER_FAULT: Final = 500
_REST_SECONDS: Final = 3.0
_ID_SECONDS: Final = 60.0
_OVER_SSH: Final = "http+docker://ssh"
_clients: Final[dict[str, APIClient]] = {}  # by engine, of this process
_id_locks: Final[dict[str, threading.Lock]] = {}  # by engine: one thread asks for all
_ids: Final[dict[str, tuple[str, float]]] = {}  # by engine, and when it was asked
_lock = threading.Lock()


class Engine:
    """Asks an engine, from any thread, over connections that all targets of a process share.

    `asking` turns what keeps an engine from answering into TargetUnreachableError.
    """

    def __init__(self, name: str, config: DockerTargetConfig) -> None:
        self.name = name
        self._config = config
        certificates = [config.tls_ca, config.tls_cert, config.tls_key]
        self.identity: str = sha256(repr([config.engine, certificates]).encode()).hexdigest()

    def call_up(self) -> None:
        """Make the acquaintance of the engine in the background, if it has yet to be made."""
        if self.identity not in _ids and not self._id_lock.locked():
            threading.Thread(
                target=self._try_to_find_id, name="mltrain-connect", daemon=True
            ).start()

    def _try_to_find_id(self) -> None:
        with suppress(TargetUnreachableError, ConfigurationError, APIError):
            self.id  # noqa: B018 - else whoever asks for it hears why

    def describe(self) -> str:
        """Which engine it is, for messages."""
        return f"Docker engine {self._config.engine}"

    @property
    def client(self) -> APIClient:
        """Docker's own client; raises TargetUnreachableError where nothing answers."""
        with _lock:
            client = _clients.get(self.identity)
            if client is None:
                client = _clients[self.identity] = self._connect()
            return client

    @contextmanager
    def asking(self) -> Iterator[APIClient]:
        """The client; what it raises for an engine that does not answer is said in words."""
        client = self.client
        _rest.note_use(client)
        try:
            yield client
        except APIError as error:
            if (error.status_code or 0) >= _SERVER_FAULT:
                raise self.unreachable(words_of(error)) from error
            raise
        except Exception as error:
            if not _is_of_connection(error):
                raise
            raise self.unreachable(explain_no_engine(error, self._config.engine)) from error
        finally:
            _rest.note_use(client)

    @property
    def id(self) -> str:
        """Tells this engine from any other, wherever it is reached from."""
        with self._id_lock:
            found, asked_at = _ids.get(self.identity, ("", -math.inf))
            is_known = time.monotonic() - asked_at < _ID_SECONDS
            return found if is_known else self.ask_id()

    @property
    def _id_lock(self) -> threading.Lock:
        return _id_locks.setdefault(self.identity, threading.Lock())

    def ask_id(self) -> str:
        """The id, asked for anew: after a break, another may answer under the same address."""
        _ids.pop(self.identity, None)
        with self.asking() as client:
            found = str(client.info()["ID"])
        _ids[self.identity] = found, time.monotonic()
        return found

    def find_container(self, name: str) -> Mapping[str, Any] | None:
        """What the engine knows of a container; None where there is none of that name."""
        with self.asking() as client:
            try:
                return dict(client.inspect_container(name))
            except NotFound:
                return None

    def find_image(self, name: str) -> Mapping[str, Any] | None:
        """What the engine knows of an image that it has; None where it has none."""
        with self.asking() as client:
            try:
                return dict(client.inspect_image(name))
            except NotFound:
                return None

    def remove_container(self, name: str, *, is_forced: bool = True) -> None:
        """Remove a container; one that runs only if `is_forced`. Nothing if there is none."""
        with self.asking() as client:
            try:
                client.remove_container(name, force=is_forced, v=True)
            except NotFound:
                pass
            except APIError as error:  # somebody removes it already, or it runs
                if error.status_code != requests.codes.conflict:
                    raise

    def unreachable(self, words: str) -> TargetUnreachableError:
        """The error that says so, and that runs go on."""
        return TargetUnreachableError(f"compute target {self.name!r}: {words}")

    def _connect(self) -> APIClient:
        from airflow.providers.docker.hooks.docker import DockerHook  # noqa: PLC0415 - Airflow's

        config = self._config
        try:
            tls: Any = DockerHook.construct_tls_config(
                ca_cert=config.tls_ca, client_cert=config.tls_cert, client_key=config.tls_key
            )
        except DockerException as error:
            raise ConfigurationError(
                f"compute target {self.name!r}: tls_ca, tls_cert, tls_key: {error}"
            ) from error
        with _own_certificates(is_wanted=bool(tls)):
            hook = DockerHook(
                docker_conn_id=None, base_url=config.engine, tls=tls, timeout=_TIMEOUT_SECONDS
            )
            client: APIClient | None = None
            cause: Exception | None = None
            try:
                client = hook.get_conn()
            except Exception as error:  # noqa: BLE001 - whatever type the provider raises
                cause = error
            if client is None or cause is not None:
                # Not while that error is handled: it would be taken for the cause of the cause.
                cause = _find_cause(config.engine, tls) or cause or OSError()
                raise self.unreachable(explain_no_engine(cause, config.engine)) from cause
        client.trust_env = not tls
        if client.base_url == _OVER_SSH:
            _share_channels(client)
        return client


def _is_of_connection(error: Exception) -> bool:
    """Whether nothing came of asking: paramiko, under `ssh://`, has errors of its own."""
    is_paramiko_s = type(error).__module__.startswith("paramiko")
    return is_paramiko_s or isinstance(error, (requests.RequestException, OSError))


def _share_channels(client: APIClient) -> None:
    """Have all questions over `ssh://` share channels, of which sshd allows ten.

    docker-py keeps a pool, and in it a channel, for each path that is asked for.
    """
    adapter: Any = client.get_adapter(_OVER_SSH)
    adapter.get_connection = partial(adapter.get_connection, _OVER_SSH)
    adapter.get_connection_with_tls_context = lambda *_, **__: adapter.get_connection()


class _Rest:
    """Closes the connections of clients that were not used for some seconds.

    A session with a job agent is none of them. Over `ssh://` all share one.
    """

    def __init__(self) -> None:
        self._used: dict[APIClient, float] = {}
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    def note_use(self, client: APIClient) -> None:
        """It is being used now."""
        if client.base_url == _OVER_SSH:
            return
        with self._lock:
            self._used[client] = time.monotonic()
            if self._timer is None:
                self._begin_to_wait()

    def _begin_to_wait(self) -> None:
        self._timer = threading.Timer(_REST_SECONDS, self._look)
        self._timer.daemon = True
        self._timer.start()

    def _look(self) -> None:
        now = time.monotonic()
        with self._lock:
            idle = [one for one, used in self._used.items() if now - used >= _REST_SECONDS]
            for client in idle:
                del self._used[client]
                client.close()  # what is under way goes on, and the next question opens a new one
            self._timer = None
            if self._used:
                self._begin_to_wait()


@contextmanager
def _own_certificates(*, is_wanted: bool) -> Iterator[None]:
    """Without what the environment says of certificates: requests prefers that to an engine's."""
    held = {name: os.environ.pop(name) for name in _BUNDLES if is_wanted and name in os.environ}
    try:
        yield
    finally:
        os.environ.update(held)


def _find_cause(url: str, tls: Any) -> Exception | None:
    """What keeps an engine from answering, which the hook only logs."""
    try:
        APIClient(base_url=url, tls=tls, timeout=_TIMEOUT_SECONDS).close()
    except Exception as error:  # noqa: BLE001 - it is what is looked for
        return error
    return None


def _forget_clients() -> None:
    """A forked child must not speak on its parent's connections."""
    global _lock, _rest
    _lock, _rest = threading.Lock(), _Rest()
    _disowned.extend(_clients.values())
    _clients.clear()
    _id_locks.clear()


_rest = _Rest()
_disowned: Final[list[APIClient]] = []  # never freed: their ends would talk on the sockets
os.register_at_fork(after_in_child=_forget_clients)
