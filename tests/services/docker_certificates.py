"""Throw-away certificates: of an engine, of its user, and of a stranger."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_SETTINGS = """\
[req]
distinguished_name = name
prompt = no
[name]
CN = mltrain-test
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = CA:FALSE
subjectAltName = DNS:localhost,IP:127.0.0.1
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[client]
basicConstraints = CA:FALSE
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


def make_certificates(folder: Path) -> None:
    """Make `folder`, with what an engine needs and what a user gives to Docker's programs.

    `ca.pem` signs `server-cert.pem` and `cert.pem`; `stranger-ca.pem` signs `stranger-cert.pem`.
    """
    folder.mkdir()
    (folder / "settings").write_text(_SETTINGS)
    _make(folder, "authority", "ca.pem", "ca-key.pem")
    _make(folder, "server", "server-cert.pem", "server-key.pem", "ca.pem", "ca-key.pem")
    _make(folder, "client", "cert.pem", "key.pem", "ca.pem", "ca-key.pem")
    other = ("stranger-ca.pem", "stranger-ca-key.pem")
    _make(folder, "authority", *other)
    _make(folder, "client", "stranger-cert.pem", "stranger-key.pem", *other)


def _make(folder: Path, kind: str, certificate: str, key: str, *signed_by: str) -> None:
    """Make a key and a certificate, which signs itself if nobody does."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "30", "-config", "settings", "-extensions", kind]
    command += ["-subj", f"/CN={certificate.removesuffix('.pem')}"]
    if signed_by:
        command += ["-CA", signed_by[0], "-CAkey", signed_by[1]]
    done = subprocess.run(
        [*command, "-out", certificate, "-keyout", key],
        check=False,
        cwd=folder,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()
