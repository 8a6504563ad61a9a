"""What Azure ML's SDK has and a training script here has not: importing it is no error, use is."""

from typing import Any, Dict, Optional

_REMEDIES = {
    "Workspace": "what belongs to the run is on Run.get_context(), the rest is for who submits",
    "Experiment": "Run.get_context().experiment names it; submit from where airflow-mltrain is",
    "Dataset": "pass the path of the data as an argument of the script, and read it from there",
    "Datastore": "pass the path of the data as an argument of the script, and read it from there",
    "Environment": "it is chosen where the run is submitted; Run.get_context().get_environment() "
    "says which it is",
    "CondaDependencies": "the environment is chosen where the run is submitted",
    "RunConfiguration": "it is chosen where the run is submitted",
    "DockerConfiguration": "it is chosen where the run is submitted",
    "ComputeTarget": "compute targets are Airflow connections, named where the run is submitted",
    "Keyvault": "have the secret passed as an environment variable, or read it from its own store",
    "Webservice": "deploy from where the model was downloaded",
    "Image": "deploy from where the model was downloaded",
}


class AbsentError(RuntimeError):
    """A script used a part of Azure ML's SDK that is not here."""


class _Absent(type):
    """The type of stand-ins: naming one is harmless, also as an annotation or in `isinstance`."""

    def __call__(cls, *_: Any, **__: Any) -> Any:
        raise _explain(cls.__name__, "")

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise _explain(cls.__name__, "." + name)


_known: Dict[str, Any] = {}


def find_absent(name: str) -> Optional[Any]:
    """The stand-in for a class of Azure ML's SDK; the same one every time."""
    if name not in _REMEDIES:
        return None
    if name not in _known:
        _known[name] = _Absent(name, (), {"__module__": "mltrain", "__doc__": _REMEDIES[name]})
    return _known[name]


class AbsentWorkspace:
    """The workspace of a run, as its script sees it: none."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise _explain("Workspace", "." + name)

    def __repr__(self) -> str:
        return "Workspace(out of reach of a training script)"


def _explain(name: str, member: str) -> AbsentError:
    words = "{}{} is not in reach of a training script without azureml-core: {}"
    return AbsentError(words.format(name, member, _REMEDIES[name]))
