"""From Airflow connections of type `ssh` to a login on the host."""

from __future__ import annotations

import inspect
import json
import os
import random
import socket
import time
from contextlib import ExitStack, suppress
from copy import copy
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import paramiko

from airflow_mltrain.errors import ConfigurationError, TargetUnreachableError
from airflow_mltrain.targets.config import read_extra
from airflow_mltrain.targets.handshake_gate import pass_gate
from airflow_mltrain.targets.prompt_socket import PromptSocket
from airflow_mltrain.targets.proxy_command import ProxyCommand, split_command
from airflow_mltrain.targets.ssh_config import SshTargetConfig
from airflow_mltrain.targets.ssh_failure import (
    LoginAttempt,
    explain_no_login,
    explain_no_way,
    fingerprint,
    is_turned_away,
)
from airflow_mltrain.targets.ssh_transport import find_host_key, find_transport, keep_quiet

_CONNECT_SECONDS, _BANNER_SECONDS, _AUTH_SECONDS = 10, 15.0, 30
_KEEPALIVE_SECONDS = 15
_FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS = 0.2, 3.0
_LAST_PORT = 65535


@dataclass(frozen=True)
class HostConnection:
    """A login on a host, and what it leads through, if anything."""

    client: paramiko.SSHClient
    through: HostConnection | ProxyCommand | None = None

    @property
    def transport(self) -> paramiko.Transport:
        """What channels are opened on; EOFError where the connection is gone."""
        transport = self.client.get_transport()
        if transport is None:
            raise EOFError("the connection was closed")
        return transport

    @property
    def host_key(self) -> str:
        """The type and the fingerprint of the key by which the host proved who it is."""
        key = self.transport.get_remote_server_key()
        return f"{key.get_name()} {fingerprint(key)}"

    def close(self) -> None:
        """Let go of it; may be repeated."""
        self.client.close()
        if self.through is not None:
            self.through.close()

    def disown(self) -> None:
        """Let go of a forked child's copy, without a word to the host."""
        if self.through is not None:
            self.through.disown()
        else:
            with suppress(EOFError):
                self.transport.sock.close()


class HostConnector:
    """Logs in on the host of an Airflow connection, as Airflow's own SSHHook would.

    It looks connections up when it is made, and never again; nothing is kept open in it, and any
    number of threads may use it. A jump host is reached as the `mltrain` extra of its own
    connection says. Raises ConfigurationError for what can be seen to be wrong in them.

    Args:
        conn_id: the connection.
        config: how its host is reached, and what else a target's settings say.
        leads_to: the connections whose hosts are reached through this one's.
    """

    def __init__(
        self, conn_id: str, config: SshTargetConfig, *, leads_to: tuple[str, ...] = ()
    ) -> None:
        if config.jump_host and config.proxy_command:
            raise ConfigurationError(
                f"connection {conn_id!r}: give either jump_host or proxy_command, not both"
            )
        self.conn_id = conn_id
        self._hook, told = _make_hook(conn_id)
        self._proxy_words = self._find_proxy_words(config)
        self._jump = self._find_jump(config, (*leads_to, conn_id))
        through = self._jump.identity if self._jump else self._proxy_words
        # Tells apart what leads to different logins; a digest, for it is made of secrets too.
        self.identity: str = sha256(json.dumps([told, through]).encode()).hexdigest()

    @property
    def is_host_key_verified(self) -> bool:
        """Whether the connection asks for that, as it does unless it says otherwise."""
        return not (self._hook.no_host_key_check or self._hook.allow_host_key_change)

    def describe(self) -> str:
        """Login, host and connection, for messages."""
        return f"{self._address}, connection {self.conn_id!r}"

    def connect(self, patience_seconds: float = 20.0) -> HostConnection:
        """A new login.

        A host that hangs up before a login, as sshd does when too many are under way, is asked
        again for `patience_seconds`. Raises TargetUnreachableError with what to do.
        """
        deadline = time.monotonic() + patience_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return self._connect_once(patience_seconds)
            except _TurnedAwayError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
            pause = min(pause * 2, _LAST_PAUSE_SECONDS)

    @property
    def _address(self) -> str:
        return f"{self._hook.username}@{self._hook.remote_host}:{self._hook.port}"

    def _find_jump(
        self, config: SshTargetConfig, leads_to: tuple[str, ...]
    ) -> HostConnector | None:
        if config.jump_host is None:
            return None
        if config.jump_host in leads_to:
            circle = " -> ".join(repr(one) for one in (*leads_to, config.jump_host))
            raise ConfigurationError(
                f"jump hosts lead in a circle: {circle}; take `jump_host` from one of them"
            )
        try:
            extra = _get_connection(config.jump_host).extra_dejson
        except ConfigurationError as error:
            raise ConfigurationError(f"connection {self.conn_id!r}: jump_host: {error}") from error
        found = read_extra(SshTargetConfig, config.jump_host, extra)
        return HostConnector(config.jump_host, found, leads_to=leads_to)

    def _find_proxy_words(self, config: SshTargetConfig) -> list[str] | None:
        hook = self._hook
        tokens = {"h": hook.remote_host, "p": str(hook.port), "r": hook.username}
        try:
            if config.proxy_command:
                return split_command(config.proxy_command, tokens)
            if hook.host_proxy_cmd:  # of ~/.ssh/config, filled in already
                return split_command(hook.host_proxy_cmd.replace("%", "%%"), {})
        except ConfigurationError as error:
            raise ConfigurationError(f"connection {self.conn_id!r}: {error}") from error
        return None

    def _connect_once(self, patience_seconds: float) -> HostConnection:
        with ExitStack() as undoing:
            through = self._open_way(patience_seconds)
            if through is not None:
                undoing.callback(through.close)
            with pass_gate(f"{self._hook.remote_host}:{self._hook.port}"):
                sock = self._open_socket(through)
                undoing.callback(sock.close)
                client = self._log_in(sock, through)
            undoing.pop_all()
        return HostConnection(client, through)

    def _open_way(self, patience_seconds: float) -> HostConnection | ProxyCommand | None:
        if self._jump is not None:
            try:
                return self._jump.connect(patience_seconds)
            except TargetUnreachableError as error:
                raise self._failure(f"its jump host is out of reach: {error}") from error
        if self._proxy_words is None:
            return None
        try:
            return ProxyCommand(self._proxy_words)
        except OSError as error:
            raise self._failure(f"its proxy command cannot be started: {error}") from error

    def _open_socket(
        self, through: HostConnection | ProxyCommand | None
    ) -> socket.socket | paramiko.Channel:
        address = (self._hook.remote_host, self._hook.port)
        seconds = self._hook.conn_timeout
        if isinstance(through, ProxyCommand):
            return through.sock
        try:
            if through is not None:
                return through.transport.open_channel(
                    "direct-tcpip", address, ("127.0.0.1", 0), timeout=seconds
                )
            return PromptSocket.connected_to(*address, seconds)
        except (OSError, EOFError, UnicodeError, paramiko.SSHException) as error:
            raise self._failure(explain_no_way(error, self._hook.remote_host)) from error

    def _log_in(
        self, sock: socket.socket | paramiko.Channel, through: HostConnection | ProxyCommand | None
    ) -> paramiko.SSHClient:
        hook = copy(self._hook)
        hook.client = None
        vars(hook)["host_proxy"] = sock  # in place of what the hook would open
        keep_quiet(sock)
        try:
            client: paramiko.SSHClient = hook.get_conn()
        except (paramiko.SSHException, EOFError, OSError, ValueError) as error:
            words = explain_no_login(error, self._describe_attempt(find_host_key(sock)))
            transport = find_transport(sock)
            if transport is not None:
                transport.close()
            proxy_failure = through.find_failure() if isinstance(through, ProxyCommand) else None
            if proxy_failure is not None:
                raise self._failure(f"its proxy command failed, {proxy_failure}") from error
            failure = self._failure(words)
            raise (_TurnedAwayError(failure) if is_turned_away(error) else failure) from error
        return client

    def _describe_attempt(self, host_key: paramiko.PKey | None) -> LoginAttempt:
        hook = self._hook
        credentials = {
            "the private key in its extra": hook.pkey,
            f"the key file {hook.key_file}": hook.key_file,
            "keys of the SSH agent": os.environ.get("SSH_AUTH_SOCK"),
            "keys in ~/.ssh": hook.look_for_keys and any(Path.home().glob(".ssh/id_*")),
            "its password": hook.password,
        }
        given = tuple(kind for kind, is_given in credentials.items() if is_given)
        return LoginAttempt(hook.username, hook.key_file, given, host_key)

    def _failure(self, words: str) -> TargetUnreachableError:
        return TargetUnreachableError(f"connection {self.conn_id!r} ({self._address}): {words}")


class _TurnedAwayError(TargetUnreachableError):
    """The host may take the connection if asked again."""


def _make_hook(conn_id: str) -> tuple[Any, list[Any]]:
    """Airflow's hook for that connection, and all that tells it from another one's."""
    from airflow.providers.ssh.hooks.ssh import SSHHook  # noqa: PLC0415 - Airflow's

    connection = _get_connection(conn_id)
    if connection.conn_type != "ssh":
        raise ConfigurationError(
            f"connection {conn_id!r} is of type {connection.conn_type!r}; name one of type 'ssh'"
        )
    options: dict[str, Any] = {"ssh_conn_id": conn_id, "banner_timeout": _BANNER_SECONDS}
    if "conn_retry_attempts" in inspect.signature(SSHHook).parameters:
        options["conn_retry_attempts"] = 1  # this module has its own, which spread
    try:
        hook: Any = SSHHook(**options)
    except Exception as error:  # whatever type the provider raises for what it cannot use
        raise ConfigurationError(f"connection {conn_id!r}: {_words_of_hook(error)}") from error
    if not 0 < hook.port <= _LAST_PORT:
        raise ConfigurationError(f"connection {conn_id!r}: there is no port {hook.port}")
    extra = connection.extra_dejson
    # What is sent is deflated already where that pays.
    hook.compress = str(extra.get("compress", "false")).lower() == "true"
    hook.conn_timeout = hook.conn_timeout or _CONNECT_SECONDS
    hook.auth_timeout = hook.auth_timeout or _AUTH_SECONDS
    hook.keepalive_interval = _KEEPALIVE_SECONDS
    told = {name: value for name, value in extra.items() if name != "mltrain"}
    address = [hook.remote_host, hook.port, hook.username]
    return hook, [address, connection.password, hook.key_file, told]


def _get_connection(conn_id: str) -> Any:
    from airflow.sdk import BaseHook  # noqa: PLC0415 - only who connects needs Airflow
    from airflow.sdk.exceptions import AirflowNotFoundException  # noqa: PLC0415

    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise ConfigurationError(
            f"there is no Airflow connection {conn_id!r}; make one of that name, or name another"
        ) from None


def _words_of_hook(error: Exception) -> str:
    words = str(error) or type(error).__name__
    if "rivate key" in words:
        words += " See private_key and private_key_passphrase in its extra."
    return words
