"""Why a login on a host failed, and what to do about it, in words."""

from __future__ import annotations

import socket
from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256

import paramiko

_HOW_TO_COMPARE = (
    "compare it on the host (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub, or of its own type)"
)


@dataclass(frozen=True)
class LoginAttempt:
    """What was tried, without its secrets, and the host key that was presented, if any was."""

    login: str
    key_file: str | None
    credentials: tuple[str, ...]
    host_key: paramiko.PKey | None


def explain_no_way(error: Exception, host: str) -> str:
    """Why there is no byte stream to the host."""
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return f"the name {host!r} resolves to no address ({error}); correct the connection's host"
    if isinstance(error, TimeoutError):
        return (
            "there is no answer; is the address right, is the host up, and does a firewall let "
            "this machine through?"
        )
    if isinstance(error, ConnectionRefusedError):
        return "the connection is refused; does sshd run there, and is the port right?"
    if isinstance(error, paramiko.ChannelException):
        return (
            f"its jump host cannot reach it, or forwards nothing ({error}); are host and port "
            "right as seen from there, and does its sshd allow it (AllowTcpForwarding)?"
        )
    return f"{error}; is the address right, and is there a route to it?"


def explain_no_login(  # noqa: PLR0911 - one cause, one answer
    error: Exception, attempt: LoginAttempt
) -> str:
    """Why the host, which was reached, did not let us in."""
    if isinstance(error, paramiko.BadHostKeyException):
        return (
            f"the host key is not the expected one: expected {fingerprint(error.expected_key)}, "
            f"presented {_show(error.key)}. Either the host was installed anew, or somebody else "
            f"answers in its place; {_HOW_TO_COMPARE} before you replace the one in the "
            "connection's extra (host_key) or in known_hosts"
        )
    if attempt.host_key is not None and "not found in known_hosts" in str(error):
        return (
            f"the host key is unknown: it presented {_show(attempt.host_key)}; {_HOW_TO_COMPARE}, "
            "then put the key, as it stands here, into the connection's extra as host_key"
        )
    if isinstance(error, OSError) and error.filename is not None:
        return f"the key file {error.filename!r} cannot be read: {error.strerror}"
    if is_silence(error):
        return (
            "it takes connections and then says nothing; does sshd hang there, is the host "
            "overloaded, or does a firewall hold its words back?"
        )
    if isinstance(error, (paramiko.ssh_exception.IncompatiblePeer, ValueError)):
        return f"no algorithms to use: {error}; see ciphers and disabled_algorithms in its extra"
    if is_turned_away(error):
        return (
            "it closes connections before a login; are too many of them under way (MaxStartups "
            "in sshd_config), does it refuse this address, and is it sshd that listens there?"
        )
    if isinstance(error, paramiko.AuthenticationException) or attempt.host_key is not None:
        return _explain_refusal(error, attempt)
    return _said(error)


def is_silence(error: Exception) -> bool:
    """Whether the host said nothing in time."""
    # paramiko's words for a host whose keys it stopped waiting for; and a banner's error hides its
    # cause.
    is_early = isinstance(error, paramiko.SSHException) and "No existing session" in str(error)
    return (
        is_early or isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError)
    )


def is_turned_away(error: Exception) -> bool:
    """Whether the host hung up before a login began, as sshd does with too many at once."""
    if isinstance(error, (EOFError, ConnectionResetError, BrokenPipeError)):
        return True
    is_about_banner = isinstance(error, paramiko.SSHException) and "banner" in str(error)
    return is_about_banner and not is_silence(error)


def fingerprint(key: paramiko.PKey) -> str:
    """A host key as `ssh-keygen -l` shows it."""
    digest = sha256(key.asbytes()).digest()
    return "SHA256:" + b64encode(digest).decode().rstrip("=")


def _explain_refusal(error: Exception, attempt: LoginAttempt) -> str:
    if isinstance(error, paramiko.PasswordRequiredException):
        return (
            "a private key needs a passphrase; for a key_file it is the connection's password, "
            "for a private_key set private_key_passphrase in the extra"
        )
    if not attempt.credentials:
        return "there is nothing to log in with; give the connection a private_key or a password"
    tried = ", ".join(attempt.credentials)
    words = f"the host does not let {attempt.login!r} in (tried: {tried}): {_said(error)}"
    if attempt.key_file and not isinstance(error, paramiko.AuthenticationException):
        return (
            f"{words}; it knows no such key, or the key file cannot be read: is it a private key, "
            "and is its passphrase the connection's password?"
        )
    return (
        f"{words}; is the login right, does its public key stand in ~/.ssh/authorized_keys there, "
        "and what does sshd's log on the host say?"
    )


def _show(key: paramiko.PKey) -> str:
    return f'"{key.get_name()} {key.get_base64()}" ({fingerprint(key)})'


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
