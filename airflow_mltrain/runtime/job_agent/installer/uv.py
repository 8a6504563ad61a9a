"""Environments made with uv, which finds the same packages as pip and is told so."""

import os
import tempfile
from typing import Dict, List, Mapping, NamedTuple, Tuple

from . import tool
from .machine_index import places_for_uv
from .requirement_file import are_all_hashed, choice_lines, read_lock, write_requirements
from .tool import Recipe
from .variables import install_variables

_LIKE_PIP = ["--index-strategy", "unsafe-best-match", "--no-sources"]


class Uv(NamedTuple):
    """The uv at `program`, run in the scratch folder `work`."""

    program: str
    work: str

    def resolve(self, recipe: Recipe, python: str) -> List[str]:
        """The exact versions with hashes that `python` needs, without installing anything."""
        lines, environment = self._places(recipe)
        answer = os.path.join(self.work, "resolved.txt")
        argv = [self.program, "pip", "compile", self._write("packages.in", lines, recipe)]
        argv += ["--generate-hashes", "--no-header", "--no-annotate", "--python", python]
        argv += [*_LIKE_PIP, *_prerelease(recipe), *self._constraints(recipe)]
        advice = (
            "uv found no set of packages for the Python at {} (uv pip compile): change the "
            "packages or the index of the environment, or see that this machine reaches the index"
        ).format(python)
        tool.run(argv, self.work, environment, advice, answer)
        with open(answer, encoding="utf-8") as file:
            return read_lock(file.read())

    def make(self, tree: str, python: str) -> None:
        """Make an empty virtual environment."""
        argv = [self.program, "venv", "--quiet", "--no-project", "--python", python, tree]
        advice = "uv could not make a virtual environment for the Python at {}".format(python)
        tool.run(argv, self.work, self._variables(), advice)

    def install_lock(self, tree: str, recipe: Recipe, packages: List[str]) -> None:
        """Install exactly these packages, which are complete."""
        arguments = ["--no-deps"]
        if are_all_hashed(packages):
            arguments = ["--require-hashes"]
            if not are_all_hashed(recipe["packages"]):  # of the user's own list it is not sure
                arguments.append("--no-deps")
        self._install(tree, dict(recipe, packages=packages), arguments)

    def install(self, tree: str, recipe: Recipe) -> List[str]:
        """Install what the recipe asks for beside what is there; what that added."""
        before = set(self._freeze(tree))
        arguments = self._constraints(recipe)
        self._install(tree, recipe, [*arguments, *_prerelease(recipe)])
        return sorted(set(self._freeze(tree)) - before)

    def _install(self, tree: str, recipe: Recipe, arguments: List[str]) -> None:
        lines, environment = self._places(recipe)
        requirements = self._write("packages.txt", lines, recipe)
        argv = [self.program, "pip", "install", "--python", _python_of(tree), "-r", requirements]
        advice = (
            "uv could not install the packages (uv pip install): change them or the index of the "
            "environment, or see that this machine reaches the index"
        )
        tool.run([*argv, *_LIKE_PIP, *arguments], self.work, environment, advice)

    def _freeze(self, tree: str) -> List[str]:
        answer = os.path.join(self.work, "installed.txt")
        argv = [self.program, "pip", "freeze", "--quiet", "--python", _python_of(tree)]
        tool.run(argv, self.work, self._variables(), "uv could not list what is there", answer)
        with open(answer, encoding="utf-8") as file:
            return read_lock(file.read())

    def _variables(self) -> Dict[str, str]:
        for name in ("pyproject.toml", "uv.toml"):  # a project around the folder must not count
            with open(os.path.join(self.work, name), "w"):
                pass
        variables = install_variables(self.work)
        variables.setdefault("UV_LINK_MODE", "copy")  # whoever edits packages edits only those
        cache = os.path.join(self.work, _cache_folder(variables))
        if not _can_write(cache):
            variables["UV_CACHE_DIR"] = os.path.join(self.work, "cache")
            variables["UV_LINK_MODE"] = "copy"  # that folder does not outlive the build
        return variables

    def _places(self, recipe: Recipe) -> Tuple[List[str], Dict[str, str]]:
        return places_for_uv(recipe["index"], self._variables())

    def _write(self, name: str, places: List[str], recipe: Recipe) -> str:
        lines = [*places, *choice_lines(recipe["index"]), *recipe["packages"]]
        return write_requirements(os.path.join(self.work, name), lines)

    def _constraints(self, recipe: Recipe) -> List[str]:
        if not recipe["constraints"]:
            return []
        path = os.path.join(self.work, "constraints.txt")
        return ["--constraints", write_requirements(path, recipe["constraints"])]


def _prerelease(recipe: Recipe) -> List[str]:
    return ["--prerelease", "allow"] if recipe["index"]["pre"] else []


def _cache_folder(variables: Mapping[str, str]) -> str:
    """Where uv keeps its cache unless a uv.toml says otherwise."""
    chosen = variables.get("UV_CACHE_DIR")
    if chosen:
        return chosen
    home = variables.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(home):  # uv passes over such a one
        home = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(home, "uv")


def _can_write(folder: str) -> bool:
    """Whether files can be put into a folder, which is made if need be."""
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _python_of(tree: str) -> str:
    return os.path.join(tree, "bin", "python")
