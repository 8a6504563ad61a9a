"""Virtual environments as an installer makes them on a machine that nobody has configured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_mltrain.runtime.job_agent.installer import installation
from airflow_mltrain.runtime.job_agent.installer.installation import Tools
from tests.services.requirement import require

FindTools = Callable[[], Tools]
PIP = Tools(uv=None, conda=None)
_LIST = """\
import importlib.metadata, json
found = importlib.metadata.distributions()
print(json.dumps(sorted(f"{each.metadata['Name']}=={each.version}" for each in found)))
"""


@dataclass(frozen=True)
class Installation:
    """A virtual environment, and the lock that the installer says is in it."""

    tree: Path
    lock: dict[str, Any]

    @property
    def packages(self) -> list[str]:
        """What the environment's own Python finds, as `name==version`."""
        return list(json.loads(self.run("python", "-c", _LIST)))

    def run(self, program: str, *arguments: str) -> str:
        """What one of its programs prints."""
        argv = [str(self.tree / "bin" / program), *arguments]
        done = subprocess.run(argv, check=True, capture_output=True, text=True)
        return done.stdout


class Machine:
    """A target in `folder` with nothing but Python; tools share their caches within a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._trees = 0

    @property
    def work(self) -> Path:
        """The scratch folder of the next installation."""
        return self.folder / f"work {self._trees}"

    def write_netrc(self, host: str, login: str, password: str) -> None:
        """Bring credentials for the next installation."""
        self.work.mkdir(mode=0o700, exist_ok=True)
        text = f"machine {host} login {login} password {password}\n"
        (self.work / "netrc").write_text(text)

    def install(
        self, recipe: dict[str, Any], tools: Tools, lock: dict[str, Any] | None = None
    ) -> Installation:
        """Resolve, where there is no lock, and build."""
        work, tree = self.work, self.folder / f"tree {self._trees}"
        work.mkdir(mode=0o700, exist_ok=True)
        self._trees += 1
        python = base_python()
        if lock is None:
            lock = installation.resolve(recipe, python, str(work), tools)
        done = installation.build(str(tree), recipe, lock, python, str(work), tools)
        return Installation(tree, done)


def base_python() -> str:
    """The Python that environments are made of: this one's, outside of any environment."""
    return os.path.realpath(sys.executable)


def find_uv() -> Tools:
    """The uv of this machine and no conda; the test ends where there is none."""
    tools = installation.find_tools(None)
    if tools.uv is None:
        require("uv", "there is no uv on this machine")
    return tools._replace(conda=None)


BOTH = pytest.mark.parametrize("find_tools", [find_uv, lambda: PIP], ids=["uv", "pip"])
"""Marks a test of uv and of pip, which get the same done."""


def recipe(*packages: str, **facts: Any) -> dict[str, Any]:
    """A recipe of these packages; `index=...` has the facts of its index that count."""
    index: dict[str, Any] = {
        "url": None,
        "extra_urls": [],
        "find_links": [],
        "no_index": False,
        "pre": False,
        "no_binary": [],
        "only_binary": [],
        "trusted_hosts": [],
    }
    plain: dict[str, Any] = {"format": 1, "python": None, "constraints": [], "conda": None}
    return {
        **plain,
        **facts,
        "packages": [*packages],
        "index": {**index, **facts.get("index", {})},
    }


def forget_configuration(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Let pip and uv see a machine that was never configured, whose user lives in `home`."""
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_", "XDG_"))]:
        monkeypatch.delenv(name)
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("UV_NO_SYSTEM_CONFIG", "1")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("PIP_RETRIES", "0")
