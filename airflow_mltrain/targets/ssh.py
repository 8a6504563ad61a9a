"""A host that sshd answers for, as a compute target."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import paramiko

from airflow_mltrain.targets.agent_entry import NoEntryError, enter
from airflow_mltrain.targets.agent_session import AgentSession
from airflow_mltrain.targets.check import Finding, FindingLevel
from airflow_mltrain.targets.machine import as_they_are
from airflow_mltrain.targets.remote_machine import MachineSettings, RemoteMachine
from airflow_mltrain.targets.session_keeper import keeper_of
from airflow_mltrain.targets.ssh_connection import HostConnection, HostConnector

if TYPE_CHECKING:
    from airflow_mltrain.targets.ssh_config import SshTargetConfig

_LOOK_SECONDS = 5.0
_STUCK_SECONDS = 30.0


class SshTarget(RemoteMachine):
    """Runs jobs on a host over one kept SSH connection, opened as soon as the target is named.

    All targets of this process that mean the same host, login and root folder share it.
    """

    def __init__(
        self,
        name: str,
        config: SshTargetConfig,
        hosts: HostConnector,
        *,
        environments_max_bytes: int | None = None,
    ) -> None:
        def open_session() -> AgentSession:
            return _open_session(name, config, hosts)

        keeper = keeper_of((hosts.identity, config.root_folder, config.python), open_session)
        settings = MachineSettings(
            python=config.python,
            max_concurrent_runs=config.max_concurrent_runs,
            environments_max_bytes=environments_max_bytes,
            gpus=as_they_are(config.gpus),
            environment_variables=config.environment_variables,
        )
        super().__init__(name, keeper, settings, label=hosts.describe())
        self._hosts = hosts
        self._remade_from = (name, config, hosts.conn_id, environments_max_bytes)
        keeper.begin()  # the handshake takes a while, in which a snapshot can be taken

    def __reduce__(self) -> tuple[object, ...]:
        return _remake, self._remade_from

    def check(self) -> tuple[Finding, ...]:
        return (*self._asked(self._look_at_login), *super().check())

    def _look_at_login(self, session: AgentSession) -> tuple[Finding, ...]:
        hello, stream = session.hello, session.stream
        words = f"{hello.user} on {hello.host} ({self._hosts.describe()})"
        login = Finding("login", FindingLevel.OK, words)
        if not isinstance(stream, ChannelStream):
            return (login,)
        key = stream.host_key
        if self._hosts.is_host_key_verified:
            return (login, Finding("host key", FindingLevel.OK, f"{key}, verified"))
        remedy = (
            "take no_host_key_check and allow_host_key_change out of the connection's extra, and "
            "put the host's key into it as host_key"
        )
        words = f"{key}, not verified: somebody may be in between"
        return (login, Finding("host key", FindingLevel.WARNING, words, remedy))


def _remake(
    name: str, config: SshTargetConfig, conn_id: str, environments_max_bytes: int | None
) -> SshTarget:
    """The same target in another process, which looks its connection up for itself."""
    hosts = HostConnector(conn_id, config)
    return SshTarget(name, config, hosts, environments_max_bytes=environments_max_bytes)


def _open_session(name: str, config: SshTargetConfig, hosts: HostConnector) -> AgentSession:
    machine = f"compute target {name!r} ({hosts.describe()})"

    def open_stream(command_line: str) -> ChannelStream:
        connection = hosts.connect()
        try:
            return ChannelStream(connection, command_line)
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise NoEntryError(
                f"{machine}: sshd let us in and opened no session: {error!r}; see what its log "
                "says, and whether its configuration allows one (MaxSessions)"
            ) from error

    return enter(open_stream, config.root_folder, config.python, machine)


class ChannelStream:
    """A command's standard input and output; closing it closes the connection."""

    def __init__(self, connection: HostConnection, command_line: str) -> None:
        self._connection = connection
        try:
            self._channel = connection.transport.open_session(timeout=_STUCK_SECONDS)
            self._channel.settimeout(_LOOK_SECONDS)
            self._channel.exec_command(command_line)
        except BaseException:
            connection.close()
            raise

    @property
    def host_key(self) -> str:
        """As `HostConnection` says."""
        return self._connection.host_key

    def receive(self, count: int) -> bytes:
        """As `Stream` says."""
        return self._channel.recv(count)

    def send(self, content: bytes) -> None:
        """As `Stream` says; a host that takes nothing for half a minute is lost."""
        view = memoryview(content)
        deadline = time.monotonic() + _STUCK_SECONDS
        while view:
            try:
                sent = self._channel.send(view)  # type: ignore[arg-type]  # it only slices
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise
                continue
            except paramiko.SSHException as error:
                raise EOFError(str(error)) from error
            if sent == 0:
                raise EOFError("the connection was closed")
            view = view[sent:]
            deadline = time.monotonic() + _STUCK_SECONDS

    def close(self) -> None:
        """As `Stream` says."""
        self._connection.close()

    def disown(self) -> None:
        """As `Stream` says."""
        self._connection.disown()
