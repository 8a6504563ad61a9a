"""A model that a script registered: it is recorded with its run."""

from typing import Any, Dict, Optional

from .absent import AbsentError


class Model:
    """A file or folder of the run's outputs, under a name; the run history keeps where it is."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        if arguments or set(named) != {"name", "path", "facts", "run_id"}:
            raise _out_of_reach("Model(...)")
        self.name: str = named["name"]
        self.path: str = named["path"]
        self.run_id: str = named["run_id"]
        facts: Dict[str, Any] = named["facts"]
        self.tags: Dict[str, str] = facts["tags"]
        self.properties: Dict[str, str] = facts["properties"]
        self.description: Optional[str] = facts["description"]
        self.model_framework: Optional[str] = facts["framework"]
        self.model_framework_version: Optional[str] = facts["framework_version"]

    @property
    def id(self) -> str:
        """The run and the name: a run's model of that name is the last it registered."""
        return "{}:{}".format(self.run_id, self.name)

    @staticmethod
    def register(*_: Any, **__: Any) -> "Model":
        """Refused: it wants a workspace; `Run.register_model` does not."""
        raise _out_of_reach("Model.register")

    @staticmethod
    def get_model_path(*_: Any, **__: Any) -> str:
        """Refused: no registry is in reach of a script."""
        raise _out_of_reach("Model.get_model_path")

    @staticmethod
    def list(*_: Any, **__: Any) -> Any:
        """Refused: no registry is in reach of a script."""
        raise _out_of_reach("Model.list")

    def __repr__(self) -> str:
        return "Model(name={!r}, path={!r}, run_id={!r})".format(self.name, self.path, self.run_id)


def _out_of_reach(what: str) -> AbsentError:
    return AbsentError(
        "{} is not in reach of a training script without azureml-core: register what it makes "
        "with Run.get_context().register_model, and pass the path of a model that it reads as "
        "an argument".format(what)
    )
