"""Wheels that came with the run: `name @ mltrain-wheel:<sha256>/<file name>` in a package line."""

import contextlib
import hashlib
import os
import re
import shutil
from typing import Iterable, List, Match
from urllib.parse import quote, unquote

from ..installer.tool import InstallError

_REFERENCE = re.compile(r"mltrain-wheel:([0-9a-f]{64})/([^\s/#;]+)")
_LOCATED = re.compile(r"file://\S*?/wheels/([0-9a-f]{64})/([^\s/#;]+)")
_READ_BYTES = 1 << 20


def materialise(packages: Iterable[str], blobs: str, wheels: str) -> List[str]:
    """The same lines, with the URLs of files that are there, under the names wheels need.

    InstallError where a wheel never arrived, or is not what its reference says any more. May be
    repeated, by several at once.
    """

    def locate(found: Match[str]) -> str:
        digest, name = found.groups()
        path = os.path.join(wheels, digest, name)
        if not os.path.exists(path):
            _place(os.path.join(blobs, digest[:2], digest), digest, path)
        return _url(path)

    return [_REFERENCE.sub(locate, line) for line in packages]


def refer(packages: Iterable[str]) -> List[str]:
    """The same lines, with references for the URLs that `materialise` gave: free of paths."""
    return [_LOCATED.sub(_refer_one, line) for line in packages]


def _refer_one(found: Match[str]) -> str:
    return "mltrain-wheel:{}/{}".format(found.group(1), unquote(found.group(2)))


def _place(blob: str, digest: str, path: str) -> None:
    name = os.path.basename(path)
    if not os.path.exists(blob):
        raise InstallError(
            "the private wheel {} is not on this machine ({} is missing): submit the run again, "
            "and it is brought along".format(name, blob)
        )
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    draft = "{}.{}".format(path, os.urandom(8).hex())
    try:
        try:
            os.link(blob, draft)  # a second name, and no second copy
        except OSError:
            shutil.copyfile(blob, draft)
        if _digest_of(draft) != digest:
            raise InstallError(
                "the private wheel {} is damaged: remove {} from this machine and submit the run "
                "again, and it is brought along anew".format(name, blob)
            )
        os.replace(draft, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)  # also replacing a link by one to the same file leaves both


def _digest_of(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(_READ_BYTES), b""):
            digest.update(chunk)
    return digest.hexdigest()


def _url(path: str) -> str:
    return "file://" + quote(os.path.abspath(path))
