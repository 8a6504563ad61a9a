"""The conda packages of an environment, by what micromamba, mamba and conda have in common.

Built to their documentation and tried with a stand-in only: `create` and `conda-meta/` are used.
"""

import json
import os
import re
from typing import Any, Dict, List

from . import tool
from .requirement_file import write_requirements
from .tool import InstallError, Recipe
from .variables import install_variables

_SECRET_IN_URL = re.compile(r"(?<=://)[^/@]+@|/t/[^/]+(?=/)")


def make(program: str, tree: str, recipe: Recipe, urls: List[str], work: str) -> None:
    """Make an environment from a recipe's conda packages, or from the exact `urls` of a lock."""
    argv = [program, "create", "--yes", "--quiet", "--prefix", tree]
    if urls:
        path = os.path.join(work, "conda.txt")
        argv += ["--file", write_requirements(path, ["@EXPLICIT", *urls])]
    else:
        argv.append("--override-channels")
        for channel in recipe["conda"]["channels"]:
            argv += ["--channel", channel]
        argv += recipe["conda"]["packages"]
    advice = (
        "{} could not install the conda packages {}: change them or the channels of the "
        "environment, or see that this machine reaches the channels"
    ).format(os.path.basename(program), ", ".join(recipe["conda"]["packages"]))
    environment = install_variables(work)
    for name in ("CONDA_ALWAYS_COPY", "MAMBA_ALWAYS_COPY"):  # no files shared with the cache
        environment.setdefault(name, "true")
    tool.run(argv, work, environment, advice)
    if not os.access(os.path.join(tree, "bin", "python"), os.X_OK):
        raise InstallError("the conda packages bring no Python: add one to them, as python=3.11")


def explain_missing(recipe: Recipe) -> str:
    """What to say where no conda tool is found."""
    return (
        "there is no micromamba, mamba or conda on this machine, and the environment asks for the "
        "conda packages {}: install micromamba there, or take them from the package index, under "
        "pip: of the conda specification"
    ).format(", ".join(recipe["conda"]["packages"]))


def read_lock(tree: str) -> List[str]:
    """The exact URLs of the conda packages in `tree`, each after those that it needs.

    They are read from what every conda tool leaves in conda-meta/, without credentials and tokens.
    """
    records = _read_records(os.path.join(tree, "conda-meta"))
    lines: List[str] = []
    done: Dict[str, bool] = {}
    for name in sorted(records):
        _add(name, records, done, lines)
    return lines


def _read_records(folder: str) -> Dict[str, Dict[str, Any]]:
    records = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".json"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                record = json.load(file)
            records[record["name"]] = record
    return records


def _add(
    name: str, records: Dict[str, Dict[str, Any]], done: Dict[str, bool], lines: List[str]
) -> None:
    if name in done or name not in records:  # conda packages may need each other in a circle
        return
    done[name] = True
    for needed in records[name].get("depends", []):
        _add(needed.split()[0], records, done, lines)
    record = records[name]
    url = _SECRET_IN_URL.sub("", record["url"])
    lines.append("{}#{}".format(url, record["md5"]) if record.get("md5") else url)
