"""What it means how a script ended, or what prepares it: status, exit code, and why in words."""

import os
import signal
from typing import Any, Dict, Optional, Tuple

from . import process
from .folder import JobFolder

_SCANT_BYTES = 64 * 1024


class Outcome:
    """Of one job, whose spec and state these are; `oom_kills_before` of the state is read."""

    def __init__(self, folder: JobFolder, spec: Dict[str, Any], state: Dict[str, Any]) -> None:
        self._folder = folder
        self._spec = spec
        self._state = state

    def explain(self, wait_status: int) -> Tuple[str, Optional[str]]:
        """The status to record, and why where it failed."""
        if os.WIFSIGNALED(wait_status):
            number = os.WTERMSIG(wait_status)
            return "Failed", "killed by {}{}".format(
                process.signal_name(number), self._suspicion(number)
            )
        code = os.WEXITSTATUS(wait_status)
        if code == 0:
            return "Completed", None
        why = self._folder.read_script_fault()
        if why and not self._is_of_script(code):
            return "Failed", why
        why = why or self._shortage()
        return "Failed", "exit code {}{}".format(code, ": " + why if why else "")

    def exit_code(self, wait_status: int) -> Optional[int]:
        """The script's own, as a shell has it; None for that of what stands for it."""
        is_signal = os.WIFSIGNALED(wait_status)
        code = 128 + os.WTERMSIG(wait_status) if is_signal else os.WEXITSTATUS(wait_status)
        return code if self._is_of_script(code) else None

    def _is_of_script(self, code: int) -> bool:
        """Whether the script ended so, and not what stands for it, as for a Spark driver."""
        return not code or self._spec["spark"] is None or self._folder.is_script_exit(code)

    def _shortage(self) -> Optional[str]:
        """That the disk is full, for which the log of the job may have had no room."""
        try:
            disk = os.statvfs(self._folder.path)
        except OSError:  # the script may have removed it
            return None
        is_full = disk.f_bavail * disk.f_frsize < _SCANT_BYTES
        return "no space is left on the disk that has its folder" if is_full else None

    def _suspicion(self, number: int) -> str:
        if number != signal.SIGKILL:
            return ""
        before, after = self._state["oom_kills_before"], process.out_of_memory_kills()
        return ": out of memory" if 0 <= before < after else ""
