"""What a run asks of Spark, and whether its target can give it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from airflow_mltrain.config.environment import Environment
from airflow_mltrain.config.script_run import ScriptRunConfig
from airflow_mltrain.config.spark import (
    SparkConfiguration,
    SparkSection,
    list_references,
    look_up_secrets,
)
from airflow_mltrain.config.text import is_template
from airflow_mltrain.errors import ConfigurationError
from airflow_mltrain.targets.base import ComputeTarget

if TYPE_CHECKING:
    from airflow_mltrain.targets.spark_job import SparkRequest


def check_spark(config: ScriptRunConfig, target: ComputeTarget) -> None:
    """Raise ConfigurationError where the run asks for Spark in vain, or for what cannot be."""
    run_config = config.run_config
    asked = run_config.spark != SparkConfiguration()
    if not target.runs_spark:
        if run_config.framework != "Python":
            raise ConfigurationError(
                f"run_config.framework = {run_config.framework!r}: compute target "
                f"{run_config.target!r} runs 'Python'; name a Spark compute target"
            )
        if asked:
            raise ConfigurationError(
                f"run_config.spark was given, and compute target {run_config.target!r} runs no "
                "Spark; leave it out, or name a Spark compute target"
            )
        return
    if config.script is None and (asked or _section(config) != SparkSection()):
        raise ConfigurationError(
            "run_config.spark and environment.spark count for a script, which is begun by "
            "spark-submit; a command runs as it is: give a script, or leave them out"
        )


def request_spark(config: ScriptRunConfig, variables: Mapping[str, str]) -> SparkRequest | None:
    """What a script asks of Spark; None for a command, which runs as it is.

    Secrets are looked up in `variables`; raises ConfigurationError where one is missing, or a
    template was not rendered.
    """
    from airflow_mltrain.targets.spark_job import SparkRequest  # noqa: PLC0415 - few runs do

    if config.script is None:
        return None
    section, asked = _section(config), config.run_config.spark
    properties = {**section.configuration, **asked.configuration}
    texts = [
        *(*section.packages, *section.repositories, *section.jars),
        *(*properties, *properties.values()),
        *filter(None, (asked.driver_memory, asked.executor_memory)),
    ]
    for text in texts:
        if is_template(text):
            raise ConfigurationError(
                f"what the run asks of Spark has a Jinja template that nothing has rendered: "
                f"{text!r}; templates are rendered in a Dag, elsewhere write the value"
            )
    return SparkRequest(
        packages=tuple(section.packages),
        repositories=tuple(section.repositories),
        jars=tuple(section.jars),
        properties=look_up_secrets(properties, variables),
        secret_names=list_references(properties),
        driver_memory=asked.driver_memory,
        driver_cores=asked.driver_cores,
        executor_memory=asked.executor_memory,
        executor_cores=asked.executor_cores,
        executor_instances=asked.executor_instances,
        expects_session=True,
    )


def _section(config: ScriptRunConfig) -> SparkSection:
    environment = config.run_config.environment
    return environment.spark if isinstance(environment, Environment) else SparkSection()
