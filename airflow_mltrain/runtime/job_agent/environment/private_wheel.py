"""Wheels that came with the run: `name @ mltrain-wheel:<sha256>/<file name>` in a package line."""

import contextlib
import os
import re
import shutil
from typing import Iterable, List, Match
from urllib.parse import quote, unquote

_REFERENCE = re.compile(r"mltrain-wheel:([0-9a-f]{64})/([^\s/#;]+)")
_LOCATED = re.compile(r"file://\S*?/wheels/([0-9a-f]{64})/([^\s/#;]+)")


def materialise(packages: Iterable[str], blobs: str, wheels: str) -> List[str]:
    """The same lines, with the URLs of files that are there, under the names wheels need.

    FileNotFoundError where a wheel never arrived. May be repeated, by several at once.
    """

    def locate(found: Match[str]) -> str:
        digest, name = found.groups()
        path = os.path.join(wheels, digest, name)
        if not os.path.exists(path):
            _place(os.path.join(blobs, digest[:2], digest), path)
        return _url(path)

    return [_REFERENCE.sub(locate, line) for line in packages]


def refer(packages: Iterable[str]) -> List[str]:
    """The same lines, with references for the URLs that `materialise` gave: free of paths."""
    return [_LOCATED.sub(_refer_one, line) for line in packages]


def _refer_one(found: Match[str]) -> str:
    return "mltrain-wheel:{}/{}".format(found.group(1), unquote(found.group(2)))


def _place(blob: str, path: str) -> None:
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    draft = "{}.{}".format(path, os.urandom(8).hex())
    try:
        os.link(blob, draft)  # a second name, and no second copy
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(blob, draft)
    os.replace(draft, path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(draft)  # replacing a link by one to the same file leaves both


def _url(path: str) -> str:
    return "file://" + quote(os.path.abspath(path))
