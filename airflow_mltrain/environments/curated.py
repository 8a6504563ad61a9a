"""The environments that come with this package, in versions that never change."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from airflow_mltrain.config.environment import Environment

if TYPE_CHECKING:
    from collections.abc import Mapping

RESERVED_PREFIX: Final = "MLTrain-"
"""Names that begin so belong to curated environments."""

_FOREIGN_PREFIXES: Final = ("azureml", "acpt", "microsoft")
_SCIENCE = (
    "cloudpickle==3.1.2",
    "joblib==1.6.0",
    "numpy==2.2.6",
    "pandas==2.3.3",
    "python-dateutil==3.0.0",
    "pytz==2026.6",
    "scikit-learn==1.7.2",
    "scipy==1.15.3",
    "six==1.17.0",
    "threadpoolctl==3.8.0",
    "tzdata==2026.6",
)

# Every name -> the packages of version 1, 2, ...; a version that was published stays as it is.
_CURATED: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = MappingProxyType(
    {
        "MLTrain-Minimal": ((),),
        "MLTrain-Scikit-Learn": (_SCIENCE,),
        # What only the CUDA builds of torch need is not named, so that a CPU build stays small.
        "MLTrain-PyTorch-CPU": (
            (
                "filelock==4.1.0",
                "fsspec==2026.9.0",
                "jinja2==3.1.6",
                "markupsafe==3.0.4",
                "mpmath==1.3.0",
                "networkx==3.4.2",
                "numpy==2.2.6",
                "setuptools==84.2.1",
                "sympy==1.14.0",
                "torch==2.13.0",
                "typing-extensions==4.16.0",
            ),
        ),
        "MLTrain-Gradient-Boosting": (
            (*_SCIENCE, "lightgbm==4.7.0", "narwhals==2.29.0", "xgboost-cpu==3.2.0"),
        ),
        "MLTrain-PySpark": (
            (
                "numpy==2.2.6",
                "pandas==2.3.3",
                "py4j==0.10.9.9",
                "pyarrow==25.0.1",
                "pyspark==4.2.1",
                "python-dateutil==3.0.0",
                "pytz==2026.6",
                "six==1.17.0",
                "tzdata==2026.6",
            ),
        ),
    }
)

CURATED_NAMES: Final = tuple(_CURATED)

# Words in the names of Azure ML's curated environments; the first that occurs counts.
_SUGGESTIONS: Final = (
    ("sklearn", "MLTrain-Scikit-Learn"),
    ("scikit", "MLTrain-Scikit-Learn"),
    ("lightgbm", "MLTrain-Gradient-Boosting"),
    ("xgboost", "MLTrain-Gradient-Boosting"),
    ("spark", "MLTrain-PySpark"),
    ("torch", "MLTrain-PyTorch-CPU"),
    ("acpt", "MLTrain-PyTorch-CPU"),
    ("minimal", "MLTrain-Minimal"),
)


def find_curated(name: str, version: int | str | None = None) -> Environment | None:
    """The curated environment, the newest version unless one is named; a new one each time.

    None if there is none of this name, or not in this version.
    """
    versions = _CURATED.get(name, ())
    numbered = {str(number): packages for number, packages in enumerate(versions, start=1)}
    wanted = str(len(versions) if version is None else version)
    if wanted not in numbered:
        return None
    return Environment(name, version=wanted, python={"packages": list(numbered[wanted])})


def suggest_curated(name: str) -> str | None:
    """The curated environment that comes closest to one of Azure ML's, by its name.

    None for other names, and where nothing comes close.
    """
    lowered = name.lower()
    if not lowered.startswith(_FOREIGN_PREFIXES):
        return None
    return next((ours for word, ours in _SUGGESTIONS if word in lowered), None)
