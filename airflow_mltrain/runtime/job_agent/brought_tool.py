"""A uv that was brought along to a machine that has none."""

import os
import shutil
import subprocess
from typing import Any, Dict, Optional

from .environment.cache import EnvironmentCache
from .installer.tool import find_tools

_TRIAL_SECONDS = 30.0


class BroughtTools:
    """The folder `<root>/tools`: programs under names that say their version."""

    def __init__(self, root: str) -> None:
        self._blobs = os.path.join(root, "blobs")
        self._environments = os.path.join(root, "envs")
        self._folder = os.path.join(root, "tools")

    def uv(self) -> Optional[str]:
        """The newest uv that was brought and runs here; None if there is none."""
        try:
            names = os.listdir(self._folder)
        except OSError:
            return None
        found = [name for name in names if name.startswith("uv-") and not name.endswith(".draft")]
        paths = [os.path.join(self._folder, name) for name in found]
        return max(paths, key=lambda path: os.stat(path).st_mtime, default=None)

    def lacks_uv(self, request: Dict[str, Any], name: str) -> bool:
        """Whether the environment has to be built, and this machine has no uv to do it with."""
        if os.path.exists(os.path.join(self._folder, name)):
            return False
        lease = EnvironmentCache(self._environments).find(request)
        if lease is not None:
            lease.close()
            return False
        return find_tools(self.uv()).uv is None

    def keep_uv(self, digest: str, name: str) -> bool:
        """Take a blob for a uv of that name, if it runs here; False if it does not."""
        blob = os.path.join(self._blobs, digest[:2], digest)
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        kept = os.path.join(self._folder, name)
        draft = os.path.join(self._folder, "{}.{}.draft".format(name, os.urandom(8).hex()))
        try:
            shutil.copyfile(blob, draft)
            os.chmod(draft, 0o700)
            subprocess.run(
                [draft, "--version"],
                check=True,
                timeout=_TRIAL_SECONDS,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            os.replace(draft, kept)
            os.unlink(blob)
        except (OSError, subprocess.SubprocessError):
            if os.path.exists(draft):
                os.unlink(draft)
        return os.path.exists(kept)  # which somebody else may have done
