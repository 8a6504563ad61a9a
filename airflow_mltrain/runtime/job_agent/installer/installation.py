"""What installs packages on a target: uv where there is one, pip otherwise, conda where asked."""

from typing import List, Optional

from . import conda, pip
from .requirement_file import are_all_hashed
from .tool import InstallError, Lock, Recipe, Tools, find_tools
from .uv import Uv

__all__ = ["InstallError", "Lock", "Recipe", "Tools", "build", "find_tools", "resolve"]


def resolve(recipe: Recipe, python: str, work: str, tools: Tools) -> Optional[Lock]:
    """The exact packages that `python` needs for a recipe, without installing anything.

    None where only `build` tells: with pip, and for conda packages. `work` is a scratch folder
    for the tools, whose file `netrc` they get their credentials from. InstallError otherwise.
    """
    if recipe["conda"] is not None:
        return None
    packages: List[str] = recipe["packages"]
    if not packages or are_all_hashed(packages):
        return {"packages": sorted(packages), "conda": []}
    if tools.uv is None:
        return None
    return {"packages": Uv(tools.uv, work).resolve(recipe, python), "conda": []}


def build(
    tree: str, recipe: Recipe, lock: Optional[Lock], python: str, work: str, tools: Tools
) -> Lock:
    """Make the virtual environment `tree`, which must not be there yet; what is now in it.

    A lock is installed exactly; without one, what the recipe comes down to today. InstallError
    leaves a part of the tree behind, for the caller to remove.
    """
    if recipe["conda"] is not None:
        return _build_with_conda(tree, recipe, lock, work, tools)
    lock = lock or resolve(recipe, python, work, tools)
    if tools.uv is not None:
        Uv(tools.uv, work).make(tree, python)
    else:
        pip.make(tree, python, work)
    packages = _install(tree, recipe, lock, python, work, tools)
    return {"packages": packages, "conda": []}


def _build_with_conda(
    tree: str, recipe: Recipe, lock: Optional[Lock], work: str, tools: Tools
) -> Lock:
    if tools.conda is None:
        raise InstallError(conda.explain_missing(recipe))
    conda.make(tools.conda, tree, recipe, lock["conda"] if lock else [], work)
    urls = lock["conda"] if lock else conda.read_lock(tree)
    packages = _install(tree, recipe, lock, tree + "/bin/python", work, tools)
    return {"packages": packages, "conda": urls}


def _install(
    tree: str, recipe: Recipe, lock: Optional[Lock], python: str, work: str, tools: Tools
) -> List[str]:
    packages = recipe["packages"] if lock is None else lock["packages"]
    if not packages:
        return []
    tool = pip.find_pip(python, work) if tools.uv is None else Uv(tools.uv, work)
    if lock is None and not are_all_hashed(packages):
        return tool.install(tree, recipe)
    tool.install_lock(tree, recipe, packages)
    return sorted(packages)
