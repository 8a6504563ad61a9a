"""Shows HTML in an output that can be replaced: a JSON line for each time."""

from __future__ import annotations

import json
import sys


class HTML:
    def __init__(self, data: str) -> None:
        self.data = data


class DisplayHandle:
    def update(self, shown: HTML) -> None:
        _print("update_display_data", shown)


def display(shown: HTML, *, display_id: bool) -> DisplayHandle:
    assert display_id
    _print("display_data", shown)
    return DisplayHandle()


def _print(kind: str, shown: HTML) -> None:
    sys.stdout.write(json.dumps({"kind": kind, "html": shown.data}) + "\n")
    sys.stdout.flush()
