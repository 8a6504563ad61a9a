"""`@task.train`: a function of a Dag as a training run."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar, Final

from airflow.sdk.bases.decorator import DecoratedOperator, TaskDecorator, task_decorator_factory
from airflow.sdk.exceptions import AirflowFailException

from airflow_mltrain.decorators.function_project import SCRIPT, make_project
from airflow_mltrain.errors import ConfigurationError
from airflow_mltrain.operators.submit_training_run import SubmitTrainingRunOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_mltrain.config.environment import Environment
    from airflow_mltrain.config.run_configuration import RunConfiguration
    from airflow_mltrain.runs.record import RunRecord
    from airflow_mltrain.workspace import Workspace

_RESULT: Final = "outputs/return_value.json"
_MOST_BYTES: Final = 100_000


class TrainDecoratedOperator(DecoratedOperator, SubmitTrainingRunOperator):
    """Runs a function on a compute target, waits for it, and returns what it returned.

    A function of a module without Airflow travels with its module, or the package that this is in;
    one in a Dag's file travels alone, and imports what it needs itself. Arguments and result are
    JSON data, which is recorded. Retries, clearing and cancelling are those of the operator.

    Args:
        experiment: the name of the group the run belongs to; the function's where not given.
        compute_target: short for the field of `run_config`, as `environment` is.
        environment: an Environment, a mapping of its fields, or its name.
        run_config: a RunConfiguration, or a mapping of its fields.
        tags: tags of the run.
    """

    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *SubmitTrainingRunOperator.template_fields,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **DecoratedOperator.template_fields_renderers,
        **SubmitTrainingRunOperator.template_fields_renderers,
    }
    custom_operator_name = "@task.train"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        experiment: str | None = None,
        compute_target: str | None = None,
        environment: Environment | Mapping[str, Any] | str | None = None,
        run_config: RunConfiguration | Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        config = {
            "source_directory": ".",  # until there is one
            "script": SCRIPT,
            "compute_target": compute_target,
            "environment": _dump(environment),
            "run_config": _dump(run_config),
            "tags": tags,
        }
        super().__init__(
            python_callable=python_callable,
            experiment=experiment or python_callable.__name__,
            config={name: value for name, value in config.items() if value is not None},
            wait_for_completion=True,
            **kwargs,
        )
        # What was dumped has no credentials of package indexes; this has.
        self._environment = environment or getattr(run_config, "environment", None)

    def execute(self, context: Context) -> Any:
        """Lay out the function, and run it."""
        try:
            self.config = {**self.config, **self._lay_out(context)}
        except ConfigurationError as error:
            raise AirflowFailException(str(error)) from error  # a retry would find the same
        return super().execute(context)

    def _lay_out(self, context: Context) -> dict[str, Any]:
        project = make_project(self.python_callable, self.dag.fileloc)
        home = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()
        arguments = self._write_arguments(context)
        return {
            "source_directory": str(project.lay_out(home / "mltrain" / "functions")),
            "arguments": [project.module, project.name, arguments],
        }

    def _write_arguments(self, context: Context) -> str:
        name = self.python_callable.__name__
        signature = inspect.signature(self.python_callable)
        given = signature.bind_partial(*self.op_args, **self.op_kwargs).arguments
        known: Mapping[str, Any] = {**context}
        asked = {
            one: known[one] for one in signature.parameters if one not in given and one in known
        }
        try:
            text = json.dumps(
                {"args": list(self.op_args), "kwargs": {**asked, **self.op_kwargs}},
                default=_as_list,
            )
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"@task.train: the arguments of {name}() have to be JSON data: {error}"
            ) from error
        if len(text) > _MOST_BYTES:
            raise ConfigurationError(
                f"@task.train: the arguments of {name}() take {len(text)} bytes as JSON, and "
                f"{_MOST_BYTES} are accepted; give it the address of what is large"
            )
        return text

    def _complete(self, context: Context, workspace: Workspace, record: RunRecord) -> Any:
        super()._complete(context, workspace, record)
        from airflow_mltrain import kept_files  # noqa: PLC0415 - as the operator does

        if _RESULT not in kept_files.list_files(workspace, record.run_id):
            self.log.warning("the function ended its process and returned nothing")
            return None
        with TemporaryDirectory() as folder:
            kept_files.copy(workspace, record.run_id, _RESULT, Path(folder) / "value")
            return json.loads((Path(folder) / "value").read_text())


def train_task(
    python_callable: Callable[..., Any] | None = None,
    multiple_outputs: bool | None = None,  # noqa: FBT001 - as Airflow calls it
    **kwargs: Any,
) -> TaskDecorator:
    """Make a function a task that runs it as a training run; see TrainDecoratedOperator."""
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=multiple_outputs,
        decorated_operator_class=TrainDecoratedOperator,
        **kwargs,
    )


def _dump(given: Any) -> Any:
    """Plain data, which Jinja renders; a model it would leave as it is, without a word."""
    return given.model_dump(mode="json") if hasattr(given, "model_dump") else given


def _as_list(value: Any) -> Any:
    """What Airflow gives of a mapped task, and of a Dag run's params, as JSON data."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(f"{type(value).__name__} is none")
