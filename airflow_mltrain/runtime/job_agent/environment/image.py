"""Environments that travel in images: laid into one, and found there by the cache."""

import contextlib
import os
import shutil

from .. import file_lock
from ..folder import JobFolder
from .cache import EnvironmentCache
from .marker import Marker, MarkerFolder, write_lasting


class NothingToLayInError(Exception):
    """The job ran in no environment that is still there."""


def lay_in(root: str, run_id: str, destination: str) -> None:
    """Copy the environment that a job ran in, for this container to become an image."""
    folder = JobFolder(root, run_id)
    state = folder.read_state() or {}
    resolved = folder.read_environment(state.get("environment_digest"))
    if resolved is None:
        raise NothingToLayInError("run {} ran in no environment".format(run_id))
    key = str(resolved["key"])
    lease = file_lock.try_shared(EnvironmentCache(folder.environments).key_lock(key))
    marker = MarkerFolder(folder.environments).read(key)
    if lease is None or marker is None:
        raise NothingToLayInError("environment {} is not there any more".format(key))
    source = os.path.join(folder.environments, "trees", marker.tree)
    shutil.copytree(source, os.path.join(destination, "trees", marker.tree), symlinks=True)
    write_lasting(os.path.join(destination, key + ".json"), marker._asdict(), destination)
    os.close(lease)


def take_in(environments: str, source: str) -> None:
    """Make known to the cache what lies in this container's image; what is ready stays as it is.

    A link leads there: programs of an environment know the path that it has in the cache.
    """
    found = MarkerFolder(source)
    for key in found.keys():  # noqa: SIM118  # it is no mapping
        marker = found.read(key)
        if marker is not None:
            _take_in_one(EnvironmentCache(environments), environments, source, marker)


def _take_in_one(cache: EnvironmentCache, environments: str, source: str, marker: Marker) -> None:
    key = str(marker.resolved["key"])
    with cache.open_draft() as draft, file_lock.exclusive(cache.key_lock(key)) as is_held:
        if not is_held or cache.is_ready(key):
            return
        with contextlib.suppress(FileExistsError):
            os.symlink(
                os.path.join(source, "trees", marker.tree),
                os.path.join(environments, "trees", marker.tree),
            )
        MarkerFolder(environments).write(marker, draft.work)
        recipe_id, platform = marker.resolved["recipe_id"], marker.resolved["platform"]
        request = {"recipe_id": recipe_id, "locks": {}}
        if cache.find_lock(request, platform) is None:
            lock = {name: marker.resolved[name] for name in ("packages", "conda")}
            cache.keep_lock(recipe_id, platform, lock, draft)
