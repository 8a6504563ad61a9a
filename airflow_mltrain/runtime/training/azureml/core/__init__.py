"""Answers `from azureml.core import Run` in scripts written for Azure ML, where its SDK is not.

A real `azureml` comes first: it is a package, and this folder's parent none. Where parts of the
SDK lie in a folder of that kind too, the real `azureml.core` is loaded in place of this one.
"""

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from typing import Any


def _find_real() -> Any:
    own = __path__[0]
    parent = sys.modules[__name__.rpartition(".")[0]]
    folders = [folder for folder in map(str, parent.__path__) if not own.startswith(folder)]
    folders = [folder for folder in folders if not _is_stand_in(folder)]
    return PathFinder.find_spec(__name__, folders)


def _is_stand_in(folder: str) -> bool:
    """Whether a copy of this package lies there, such as that of an installed airflow-mltrain."""
    return os.path.exists(os.path.join(os.path.dirname(folder), "mltrain", "absent.py"))


_real = _find_real()
if _real is not None:
    sys.modules[__name__] = module_from_spec(_real)
    _real.loader.exec_module(sys.modules[__name__])

VERSION = "0"


def __getattr__(name: str) -> Any:
    import mltrain  # noqa: PLC0415  # not where a real one takes over

    try:
        return getattr(mltrain, name)
    except AttributeError:
        raise AttributeError(
            "{!r} is not among what a training script finds of azureml.core; install azureml-core "
            "into its environment".format(name)
        ) from None
