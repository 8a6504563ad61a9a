"""A Docker engine, reached as Airflow's Docker hook reaches it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
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
_clients: Final[dict[str, APIClient]] = {}  # by engine, of this process
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
        try:
            yield client
        except APIError as error:
            if (error.status_code or 0) >= _SERVER_FAULT:
                raise self.unreachable(words_of(error)) from error
            raise
        except (requests.RequestException, OSError) as error:
            raise self.unreachable(explain_no_engine(error, self._config.engine)) from error

    @cached_property
    def id(self) -> str:
        """Tells this engine from any other, wherever it is reached from."""
        with self.asking() as client:
            return str(client.info()["ID"])

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

    def remove_container(self, name: str) -> None:
        """Remove a container, whatever it does; nothing if there is none."""
        with self.asking() as client:
            try:
                client.remove_container(name, force=True, v=True)
            except NotFound:
                pass
            except APIError as error:
                if error.status_code != requests.codes.conflict:  # somebody removes it already
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
            try:
                client: APIClient = hook.get_conn()
            except Exception as error:  # whatever type the provider raises
                cause = _find_cause(config.engine, tls) or error
                raise self.unreachable(explain_no_engine(cause, config.engine)) from error
        client.trust_env = not tls
        return client


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
    except (requests.RequestException, DockerException, OSError) as error:
        return error
    return None


def _forget_clients() -> None:
    """A forked child must not speak on its parent's connections."""
    global _lock  # noqa: PLW0603 - it may have been held when the parent forked
    _lock = threading.Lock()
    _disowned.extend(_clients.values())
    _clients.clear()


def close_clients() -> None:
    """Close this process's connections to engines; the next question opens new ones."""
    with _lock:
        for client in _clients.values():
            with suppress(OSError):
                client.close()
        _clients.clear()


_disowned: Final[list[APIClient]] = []  # never freed: their ends would talk on the sockets
os.register_at_fork(after_in_child=_forget_clients)
