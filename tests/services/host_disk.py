"""The disk of a host for tests: its one user, their keys, and the configuration of its sshd."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

USER, USER_ID = "trainer", 20001
OWN_FILES = ("passwd", "group", "shadow")
_SSHD_CONFIG = """
Port {port}
ListenAddress {address}
HostKey {disk}/host_key
AuthorizedKeysFile {disk}/authorized_keys
PidFile /run/sshd.pid
UsePAM no
StrictModes no
PasswordAuthentication {password_authentication}
LogLevel VERBOSE
{more}
"""


@dataclass(frozen=True)
class HostOptions:
    """What is special about a host."""

    home_name: str = "trainer"
    shell: str = "/bin/bash"
    bashrc: str = ""
    password: str | None = None
    own_network: bool = False
    own_processes: bool = True  # False: the tests see a script's own process numbers
    sshd_lines: tuple[str, ...] = ()
    mounts: tuple[str, ...] = field(default=())  # shell commands run before sshd, $HOME is known
    session_variables: dict[str, str] = field(default_factory=dict)


def make_disk(disk: Path, home: Path, bashrc: str) -> None:
    """Throw-away keys, one of which is let in, and the user's home."""
    for key in ("host_key", "user_key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(disk / key)]
        subprocess.run(command, check=True)
    shutil.copy(disk / "user_key.pub", disk / "authorized_keys")
    home.mkdir()
    (home / ".bashrc").write_text(bashrc)
    for path in (home, home / ".bashrc"):
        os.chown(path, USER_ID, USER_ID)


def write_configuration(
    disk: Path, home: Path, options: HostOptions, address: tuple[str, int]
) -> None:
    """What the host knows of its users, and what its sshd reads."""
    shown = "*"
    if options.password is not None:
        hashed = ["openssl", "passwd", "-6", options.password]
        shown = subprocess.run(hashed, check=True, capture_output=True).stdout.decode().strip()
    names = {
        "passwd": "root:x:0:0:root:/root:/bin/sh\n"
        "sshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n"
        "nobody:x:65534:65534::/:/usr/sbin/nologin\n"
        f"{USER}:x:{USER_ID}:{USER_ID}::{home}:{options.shell}\n",
        "group": f"root:x:0:\nnogroup:x:65534:\n{USER}:x:{USER_ID}:\n",
        "shadow": f"root:*:19000:0:99999:7:::\n{USER}:{shown}:19000:0:99999:7:::\n",
    }
    for name, content in names.items():
        (disk / name).write_text(content)
    lines = list(options.sshd_lines)
    variables = [f'"{name}={value}"' for name, value in options.session_variables.items()]
    if variables:
        lines.append("SetEnv " + " ".join(variables))
    (disk / "sshd_config").write_text(
        _SSHD_CONFIG.format(
            port=address[1],
            address=address[0],
            disk=disk,
            password_authentication="no" if options.password is None else "yes",
            more="\n".join(lines),
        )
    )
