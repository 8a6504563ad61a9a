"""Whom a script runs as, where its supervisor is root and it is not."""

import contextlib
import grp
import os
import pwd
from typing import List, NamedTuple

from .folder import JobFolder


class UnknownUserError(Exception):
    """There is no such user or group here."""


class ScriptUser(NamedTuple):
    """A user of this machine, or a number that nobody has."""

    uid: int
    gid: int
    groups: List[int]
    home: str

    def own(self, folder: JobFolder) -> None:
        """Give the user what was laid out for a job, its log and metrics, and nothing else."""
        for path in (folder.log, folder.metrics):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
            os.chown(path, self.uid, self.gid)
        for top in (folder.code, folder.previous_outputs):
            for parent, folders, files in os.walk(top):
                os.chown(parent, self.uid, self.gid)
                for name in [*folders, *files]:
                    os.lchown(os.path.join(parent, name), self.uid, self.gid)
        # The way to the code, and no list of what lies there, nor of other runs.
        for on_the_way in (os.path.dirname(folder.path), folder.path):
            os.chmod(on_the_way, 0o711)  # noqa: S103

    def own_file(self, path: str) -> None:
        """Give one file to the user."""
        os.chown(path, self.uid, self.gid)

    def become(self) -> None:
        """Turn this process into one of the user's, for good."""
        os.setgroups(self.groups)
        os.setgid(self.gid)
        os.setuid(self.uid)


def find_user(text: str) -> ScriptUser:
    """The user that `name`, `uid`, `name:group` or `uid:gid` means, as `docker run --user` does.

    UnknownUserError where there is none of that name. A number needs no entry anywhere.
    """
    name, _, group = text.partition(":")
    with contextlib.suppress(KeyError):
        entry = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
        gid = _find_group(group) if group else entry.pw_gid
        groups = [gid] if group else os.getgrouplist(entry.pw_name, gid)
        return ScriptUser(entry.pw_uid, gid, groups, entry.pw_dir)
    if not name.isdigit():
        raise UnknownUserError("there is no user {!r} in the image".format(name))
    gid = _find_group(group) if group else 0
    return ScriptUser(int(name), gid, [gid], "/")


def _find_group(group: str) -> int:
    if group.isdigit():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise UnknownUserError("there is no group {!r} in the image".format(group)) from None
