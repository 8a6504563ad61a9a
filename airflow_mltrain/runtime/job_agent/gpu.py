"""The graphics cards of this machine, and whether this login may use them."""

import glob
import os
import shutil
from typing import Any, Dict, List

from .probe import ProbeError, ask

_PLACES = ("/usr/bin", "/usr/local/bin", "/usr/lib/wsl/lib", "/opt/bin")
_QUERY = "--query-gpu=index,name,memory.total,driver_version"
_FIELDS = 4
_SECONDS = 8.0  # waking a card that sleeps takes a few


def look_at_gpus() -> Dict[str, Any]:
    """The cards that NVIDIA's program lists, and the devices there are.

    `program_error` is what it complained of; `closed` are the devices that this login may not use.
    """
    devices = sorted([*glob.glob("/dev/nvidia[0-9]*"), *glob.glob("/dev/kfd")])
    closed = [path for path in devices if not os.access(path, os.R_OK | os.W_OK)]
    found: Dict[str, Any] = {"cards": [], "devices": devices, "closed": closed}
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_PLACES])
    program = shutil.which("nvidia-smi", path=path)
    if program is not None:
        try:
            answer = ask([program, _QUERY, "--format=csv,noheader"], patience_seconds=_SECONDS)
        except (OSError, ProbeError) as error:
            return dict(found, program_error=str(error))
        if answer.exit_code != 0:
            words = " ".join((answer.output + answer.complaint).split())
            return dict(found, program_error=words or "exit code {}".format(answer.exit_code))
        found["cards"] = read_cards(answer.output)
    return found


def read_cards(output: str) -> List[Dict[str, str]]:
    """The cards from the words of `nvidia-smi --query-gpu`, a line each."""
    rows = [[field.strip() for field in line.split(",")] for line in output.splitlines()]
    return [
        {"index": row[0], "name": row[1], "memory": row[2], "driver": row[3]}
        for row in rows
        if len(row) == _FIELDS
    ]
