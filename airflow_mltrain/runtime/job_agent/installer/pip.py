"""Environments made with venv and pip, where a target has no uv."""

import json
import os
from typing import Any, Dict, Iterable, List, NamedTuple, Tuple

from . import tool
from .requirement_file import (
    are_all_hashed,
    choice_lines,
    normalize,
    place_lines,
    read_lock,
    without_hashes,
    write_requirements,
)
from .tool import Recipe
from .variables import install_variables

# Only pip itself is taken from where it lives: the environment must not see what lies beside it.
_RUN_ELSEWHERE = """\
import runpy, sys
from importlib.machinery import PathFinder
home = sys.argv[1]
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return PathFinder.find_spec(name, [home], target) if name == "pip" else None
sys.meta_path.insert(0, Finder)
sys.argv[1:2] = []
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
_WHERE_IS_PIP = "import os, pip; print(os.path.dirname(os.path.dirname(pip.__file__))); "
_WHERE_IS_PIP += "print(pip.__version__)"
_FIRST_WITH_REPORT = (22, 2)


class Pip(NamedTuple):
    """A pip in the folder `home`, which needs not be where it installs."""

    home: str
    version: Tuple[int, ...]
    work: str

    def install_lock(self, tree: str, recipe: Recipe, packages: List[str]) -> None:
        """Install exactly these packages, which are complete."""
        if not are_all_hashed(packages):  # pip insists that all have one, or none
            packages = without_hashes(packages)
        arguments = [] if are_all_hashed(recipe["packages"]) else ["--no-deps"]
        self._install(tree, dict(recipe, packages=packages), arguments)

    def install(self, tree: str, recipe: Recipe) -> List[str]:
        """Install what the recipe asks for beside what is there; what that added."""
        arguments = []
        if recipe["constraints"]:
            path = os.path.join(self.work, "constraints.txt")
            arguments = ["--constraint", write_requirements(path, recipe["constraints"])]
        if self.version < _FIRST_WITH_REPORT:
            before = set(self._freeze(tree))
            self._install(tree, recipe, arguments)
            return sorted(_with_urls(set(self._freeze(tree)) - before, recipe["packages"]))
        report = os.path.join(self.work, "report.json")
        self._install(tree, recipe, [*arguments, "--report", report])
        with open(report, encoding="utf-8") as file:
            return _read_report(json.load(file))

    def _install(self, tree: str, recipe: Recipe, arguments: List[str]) -> None:
        path = os.path.join(self.work, "packages.txt")
        requirements = write_requirements(path, _lines(recipe))
        environment = install_variables(self.work)
        if recipe["index"]["url"]:
            environment["PIP_NO_INDEX"] = "0"  # it was asked for, whatever the machine is used to
        advice = (
            "pip could not install the packages (pip install): change them or the index of the "
            "environment, or see that this machine reaches the index"
        )
        argv = [*self._argv(tree), "install", "--requirement", requirements, *arguments]
        tool.run(argv, self.work, environment, advice)

    def _freeze(self, tree: str) -> List[str]:
        answer = os.path.join(self.work, "installed.txt")
        argv = [*self._argv(tree), "freeze", "--all"]
        advice = "pip could not list what is there"
        tool.run(argv, self.work, install_variables(self.work), advice, answer)
        with open(answer, encoding="utf-8") as file:
            return sorted(_normalized(read_lock(file.read())))

    def _argv(self, tree: str) -> List[str]:
        python = os.path.join(tree, "bin", "python")
        return [python, "-I", "-c", _RUN_ELSEWHERE, self.home]


def make(tree: str, python: str, work: str) -> None:
    """Make an empty virtual environment: without pip, as uv does."""
    argv = [python, "-I", "-m", "venv", "--without-pip", tree]
    advice = (
        "the Python at {} could not make a virtual environment: install its venv module (on "
        "Debian and Ubuntu the package python3-venv), or install uv on this machine"
    ).format(python)
    tool.run(argv, work, install_variables(work), advice)


def find_pip(python: str, work: str) -> Pip:
    """The pip of that Python, or the one that it carries along for virtual environments.

    Raises InstallError where it has neither, as on a Debian without python3-venv.
    """
    found = _ask_for_pip(python, work)
    if found:
        return found[0]
    own = os.path.join(work, "pip")
    advice = (
        "the Python at {} has no pip and carries none along: install it (on Debian and Ubuntu the "
        "package python3-venv), or install uv on this machine"
    ).format(python)
    tool.run([python, "-I", "-m", "venv", own], work, install_variables(work), advice)
    found = _ask_for_pip(os.path.join(own, "bin", "python"), work)
    if not found:
        raise tool.InstallError("no pip came with a virtual environment\n" + advice)
    return found[0]


def _ask_for_pip(python: str, work: str) -> List[Pip]:
    said = tool.ask([python, "-I", "-c", _WHERE_IS_PIP], work, install_variables(work))
    if said is None:
        return []
    home, _, version = said.rpartition("\n")
    return [Pip(home, tool.version_of(version), work)]


def _lines(recipe: Recipe) -> Iterable[str]:
    index = recipe["index"]
    if index["url"] and not index["no_index"]:
        yield "--index-url {}".format(index["url"])
    yield from place_lines(index["extra_urls"], index["find_links"], no_index=index["no_index"])
    for host in index["trusted_hosts"]:
        yield "--trusted-host {}".format(host)
    if index["pre"]:
        yield "--pre"
    yield from choice_lines(index)
    yield from recipe["packages"]


def _read_report(report: Dict[str, Any]) -> List[str]:
    return sorted(_read_installed(each) for each in report["install"])


def _read_installed(installed: Dict[str, Any]) -> str:
    metadata, origin = installed["metadata"], installed["download_info"]
    archive = origin.get("archive_info", {})
    hashes = dict(archive.get("hashes") or {})
    if not hashes and "=" in archive.get("hash", ""):  # before pip 23
        hashes = dict([archive["hash"].split("=", 1)])
    suffix = " --hash=sha256:{}".format(hashes["sha256"]) if "sha256" in hashes else ""
    name = normalize(metadata["name"])
    if not installed["is_direct"]:
        return "{}=={}{}".format(name, metadata["version"], suffix)
    return "{} @ {}{}".format(name, _url_of(origin), suffix)


def _url_of(origin: Dict[str, Any]) -> str:
    url = str(origin["url"])
    if "vcs_info" in origin:
        vcs = origin["vcs_info"]
        url = "{}+{}@{}".format(vcs["vcs"], url, vcs["commit_id"])
    if origin.get("subdirectory"):
        url += "#subdirectory={}".format(origin["subdirectory"])
    return url


def _with_urls(lines: Iterable[str], asked: Iterable[str]) -> Iterable[str]:
    """The same lines, where a pip before 20.1 forgot a URL and a later one put a hash into it."""
    direct = {}
    for line in asked:
        head, found, url = line.partition(" ;")[0].partition(" @ ")
        if found:
            name = normalize(head.partition("[")[0].strip())
            direct[name] = "{} @ {}".format(name, url)
    for line in lines:
        name, found, _ = line.partition("==")
        yield direct.get(name, line) if found else line.partition("#sha256=")[0]


def _normalized(lines: Iterable[str]) -> Iterable[str]:
    for line in lines:
        for mark in (" @ ", "=="):
            name, found, rest = line.partition(mark)
            if found:
                yield normalize(name) + mark + rest
                break
