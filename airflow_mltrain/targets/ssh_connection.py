"""From Airflow connections of type `ssh` to a login on the host."""

from __future__ import annotations

import inspect
import json
import logging
import random
import socket
import time
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import paramiko

from airflow_mltrain.errors import ConfigurationError, TargetUnreachableError
from airflow_mltrain.targets.config import SshTargetConfig
from airflow_mltrain.targets.handshake_gate import pass_gate

_CONNECT_SECONDS, _BANNER_SECONDS, _AUTH_SECONDS = 10, 15.0, 30
_KEEPALIVE_SECONDS = 15
_FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS = 0.2, 3.0


@dataclass(frozen=True)
class HostConnection:
    """A login on a host, and the one it leads through, if any."""

    client: paramiko.SSHClient
    through: HostConnection | None = None

    @property
    def transport(self) -> paramiko.Transport:
        """What channels are opened on; EOFError where the connection is gone."""
        transport = self.client.get_transport()
        if transport is None:
            raise EOFError("the connection was closed")
        return transport

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
            self.transport.sock.close()


class HostConnector:
    """Logs in on the host of an Airflow connection, as Airflow's own SSHHook would.

    It looks connections up when it is made, and never again. Raises ConfigurationError for what
    can be seen to be wrong in them.
    """

    def __init__(self, conn_id: str, config: SshTargetConfig) -> None:
        if config.jump_host and config.proxy_command:
            raise ConfigurationError(
                f"connection {conn_id!r}: give either jump_host or proxy_command, not both"
            )
        self.conn_id = conn_id
        self._hook, told = _make_hook(conn_id)
        self._proxy_command = config.proxy_command
        self._jump = HostConnector(config.jump_host, SshTargetConfig()) if config.jump_host else None
        through = self._jump.identity if self._jump else config.proxy_command
        # Tells apart what leads to different logins; a digest, for it is made of secrets too.
        self.identity = sha256(json.dumps([told, through]).encode()).hexdigest()

    def describe(self) -> str:
        """Login, host and connection, for messages."""
        return f"{self._address}, connection {self.conn_id!r}"

    def connect(self, patience_seconds: float = 20.0) -> HostConnection:
        """A new login.

        A host that turns connections away because too many are under way is asked again, for
        `patience_seconds`. Raises TargetUnreachableError with what to do.
        """
        deadline = time.monotonic() + patience_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            through = self._jump.connect(patience_seconds) if self._jump else None
            try:
                with pass_gate(f"{self._hook.remote_host}:{self._hook.port}"):
                    return HostConnection(self._connect_once(through), through)
            except (paramiko.SSHException, EOFError, OSError) as error:
                if through is not None:
                    through.close()
                if not _is_turned_away(error) or time.monotonic() > deadline:
                    raise TargetUnreachableError(self._diagnosis(error)) from error
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
            pause = min(pause * 2, _LAST_PAUSE_SECONDS)

    @property
    def _address(self) -> str:
        return f"{self._hook.username}@{self._hook.remote_host}:{self._hook.port}"

    def _connect_once(self, through: HostConnection | None) -> paramiko.SSHClient:
        hook = self._hook
        hook.client = None
        hook.__dict__["host_proxy"] = self._open_proxy(through)  # the hook opens it but once
        try:
            client: paramiko.SSHClient = hook.get_conn()
        finally:
            hook.client = None
        transport = client.get_transport()
        with suppress(OSError, AttributeError):  # a proxy has no such option
            # Without Nagle's algorithm an exchange takes 3 ms instead of 48.
            transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # type: ignore[union-attr]
        return client

    def _open_proxy(self, through: HostConnection | None) -> Any:
        hook = self._hook
        if through is not None:
            address = (hook.remote_host, hook.port)
            return through.transport.open_channel(
                "direct-tcpip", address, ("127.0.0.1", 0), timeout=_CONNECT_SECONDS
            )
        command = self._proxy_command or hook.host_proxy_cmd
        if command is None:
            return None
        if self._proxy_command:
            filled = {"%%": "%", "%h": hook.remote_host, "%p": str(hook.port), "%r": hook.username}
            for letters, value in filled.items():
                command = command.replace(letters, value)
        return paramiko.ProxyCommand(command)

    def _diagnosis(self, error: Exception) -> str:
        return f"connection {self.conn_id!r} ({self._address}): {self._cause(error)}"

    def _cause(self, error: Exception) -> str:  # noqa: PLR0911 - one cause, one answer
        host = self._hook.remote_host
        if isinstance(error, socket.gaierror):
            return f"the name {host!r} resolves to no address; correct the host in the connection"
        if isinstance(error, paramiko.BadHostKeyException):
            return (
                f"the host key is another one than expected ({fingerprint(error.expected_key)}): "
                f"{_line(error.key)}, {fingerprint(error.key)}. Somebody may be in between, or the "
                "host was installed anew; compare it on the host (ssh-keygen -lf "
                "/etc/ssh/ssh_host_ed25519_key.pub) before you change host_key or known_hosts"
            )
        if "not found in known_hosts" in str(error):
            return self._unknown_host_key()
        if isinstance(error, paramiko.PasswordRequiredException):
            return "its private key needs a passphrase; set private_key_passphrase in the extra"
        if isinstance(error, paramiko.AuthenticationException):
            return (
                f"the host does not let {self._hook.username!r} in with {self._credential()}: "
                f"{error}; see that the login is right, that the public key stands in "
                "~/.ssh/authorized_keys on the host, and what sshd's log says there"
            )
        if isinstance(error, TimeoutError):
            return (
                "it does not answer in time; is the address right, is the host up, and does a "
                "firewall let this machine through?"
            )
        if isinstance(error, (ConnectionRefusedError, paramiko.ssh_exception.NoValidConnectionsError)):
            return f"nothing listens there ({error}); does sshd run, and is the port right?"
        if isinstance(error, paramiko.ChannelException):
            return f"its jump host cannot reach it, or forwards nothing (AllowTcpForwarding): {error}"
        return f"{error or type(error).__name__}"

    def _credential(self) -> str:
        hook = self._hook
        kinds = {
            "the private key in its extra": hook.pkey,
            f"the key file {hook.key_file}": hook.key_file,
            "its password": hook.password,
        }
        return " and ".join(kind for kind, given in kinds.items() if given) or "the keys it found"

    def _unknown_host_key(self) -> str:
        presented = "it could not be read again"
        with suppress(paramiko.SSHException, EOFError, OSError):
            address = (self._hook.remote_host, self._hook.port)
            through = self._jump.connect() if self._jump else None
            sock = self._open_proxy(through) or socket.create_connection(address, _CONNECT_SECONDS)
            with paramiko.Transport(sock) as transport:
                transport.start_client(timeout=_CONNECT_SECONDS)
                key = transport.get_remote_server_key()
                presented = f"{_line(key)}, {fingerprint(key)}"
            if through is not None:
                through.close()
        return (
            f"its host key is unknown: {presented}. Compare it on the host (ssh-keygen -lf "
            "/etc/ssh/ssh_host_ed25519_key.pub), then put it into the connection's extra as host_key"
        )


def fingerprint(key: paramiko.PKey) -> str:
    """A host key as `ssh-keygen -l` shows it."""
    digest = sha256(key.asbytes()).digest()
    return "SHA256:" + b64encode(digest).decode().rstrip("=")


def _line(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.get_base64()}"


def _is_turned_away(error: Exception) -> bool:
    """Whether the connection was closed before anything was said, as MaxStartups has it done."""
    if isinstance(error, (paramiko.AuthenticationException, paramiko.BadHostKeyException)):
        return False
    if isinstance(error, (EOFError, ConnectionResetError, BrokenPipeError)):
        return True
    is_about_banner = "banner" in str(error) and "timed out" not in str(error)
    return isinstance(error, paramiko.SSHException) and is_about_banner


def _make_hook(conn_id: str) -> tuple[Any, list[Any]]:
    from airflow.providers.ssh.hooks.ssh import SSHHook  # noqa: PLC0415 - paramiko is dear
    from airflow.sdk import BaseHook  # noqa: PLC0415

    connection = BaseHook.get_connection(conn_id)
    if connection.conn_type != "ssh":
        raise ConfigurationError(
            f"Airflow connection {conn_id!r} is of type {connection.conn_type!r}; one of type "
            "'ssh' is needed here"
        )
    _silence_paramiko()
    options: dict[str, Any] = {"ssh_conn_id": conn_id, "banner_timeout": _BANNER_SECONDS}
    if "conn_retry_attempts" in inspect.signature(SSHHook).parameters:
        options["conn_retry_attempts"] = 1  # this module has its own, which spread
    try:
        hook = SSHHook(**options)
    except Exception as error:  # whatever type the provider raises for what it cannot use
        raise ConfigurationError(f"Airflow connection {conn_id!r}: {error}") from error
    extra = connection.extra_dejson
    # What is sent is deflated already where that pays.
    hook.compress = str(extra.get("compress", "false")).lower() == "true"
    hook.conn_timeout = hook.conn_timeout or _CONNECT_SECONDS
    hook.auth_timeout = hook.auth_timeout or _AUTH_SECONDS
    hook.keepalive_interval = _KEEPALIVE_SECONDS
    told = {name: value for name, value in extra.items() if name != "mltrain"}
    return hook, [hook.remote_host, hook.port, hook.username, connection.password, told]


def _silence_paramiko() -> None:
    """It prints tracebacks of what is told here in words; who set its level is obeyed."""
    logger = logging.getLogger("paramiko.transport")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
