"""Handing a job to its container over the container's input, as `job_agent/order.py` takes it."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from airflow_mltrain.runtime.job_agent.order_answer import CLAIMED, LACKING
from airflow_mltrain.targets.base import Job
from airflow_mltrain.targets.bundled_uv import find_bundled_uv
from airflow_mltrain.targets.docker.stream import EngineStream
from airflow_mltrain.targets.machine import secrets_of

_ANSWER_SECONDS: Final = 60.0
_RECEIVE_BYTES: Final = 4096


def send_order(stream: EngineStream, job: Job, spec: Mapping[str, Any]) -> bool:
    """Whether the container's supervisor has the job for certain; else it may have it even so.

    The stream is closed.
    """
    uv = find_bundled_uv()
    order = {
        "spec": spec,
        "log": base64.b64encode(job.first_log).decode(),
        "secrets": secrets_of(job),
        "uv": uv and {"name": uv.name, "machine": os.uname().machine},
    }
    try:
        stream.send(json.dumps(order).encode() + b"\n")
        return _is_claimed(stream)
    except (OSError, EOFError):
        return False
    finally:
        stream.close()


def _is_claimed(stream: EngineStream) -> bool:
    said = b""
    deadline = time.monotonic() + _ANSWER_SECONDS
    while CLAIMED not in said:
        if LACKING in said or time.monotonic() > deadline:
            return False
        with suppress(TimeoutError):
            received = stream.receive(_RECEIVE_BYTES)
            if not received:
                return False
            said += received
    return True
