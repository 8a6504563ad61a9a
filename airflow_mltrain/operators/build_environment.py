"""The operator that builds an environment on a compute target before a run needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from airflow_mltrain.config.environment import Environment
from airflow_mltrain.config.secret_text import require_no_credentials
from airflow_mltrain.environments.check import ENVIRONMENTS_EXPERIMENT, environment_check
from airflow_mltrain.errors import ConfigurationError
from airflow_mltrain.operators.submit_training_run import SubmitTrainingRunOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class BuildEnvironmentOperator(SubmitTrainingRunOperator):
    """Builds an environment on a compute target and returns the id of the run that did.

    The run lists in its log what the environment holds. Where the target has it already, nothing
    is built and the environment counts as used. Retries, deferral and cancelling are as in
    SubmitTrainingRunOperator, whose other parameters it takes too; it waits unless told not to.

    Args:
        environment: an Environment, a mapping of its fields, or the name of a registered or
            curated one (templated throughout).
        compute_target: the name of the target (templated).
        prepare_timeout_seconds: how long building may take, instead of the limit of other runs.
    """

    template_fields: Sequence[str] = ("environment", "compute_target")
    template_fields_renderers = {"environment": "json"}  # noqa: RUF012 - as Airflow declares it

    def __init__(
        self,
        *,
        environment: Environment | Mapping[str, Any] | str,
        compute_target: str = "local",
        prepare_timeout_seconds: int | None = None,
        wait_for_completion: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            experiment=ENVIRONMENTS_EXPERIMENT,
            config={},  # made of the rest, once that is rendered
            wait_for_completion=wait_for_completion,
            **kwargs,
        )
        if isinstance(environment, Environment):
            self._environment = environment  # with its credentials, which the dump has not
            environment = environment.model_dump(mode="json")
        require_no_credentials(environment)
        self.environment = environment
        self.compute_target = compute_target
        self.prepare_timeout_seconds = prepare_timeout_seconds

    def execute(self, context: Context) -> str:
        """Build the environment, and wait for it if asked to."""
        try:
            given = self.environment
            config = environment_check(
                given if isinstance(given, str) else Environment.model_validate(given),
                self.compute_target,
                prepare_timeout_seconds=self.prepare_timeout_seconds,
            )
        except ConfigurationError as error:
            raise AirflowFailException(str(error)) from error  # a retry would find the same
        self.config = config.model_dump(mode="json")
        return super().execute(context)
