"""What is known of an application, noted as properties of its run."""

import json
import os
from typing import Dict


def note_facts(metrics: str, facts: Dict[str, str]) -> None:
    """Add them to the metrics of a job, at that path, which every follower reads."""
    lines = [
        json.dumps({"type": "fact", "name": name, "value": value}) + "\n"
        for name, value in facts.items()
    ]
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    descriptor = os.open(metrics, flags, 0o600)
    try:
        os.write(descriptor, "".join(lines).encode("ascii"))
    finally:
        os.close(descriptor)
