"""From a run configuration to what a `.runconfig` file says of it."""

from __future__ import annotations

from typing import Any

from airflow_mltrain.config.conda_dependencies import CondaDependencies
from airflow_mltrain.config.docker_configuration import DockerConfiguration
from airflow_mltrain.config.environment import Environment
from airflow_mltrain.config.run_configuration import RunConfiguration
from airflow_mltrain.config.yaml_document import Location


def write_run_configuration(run_config: RunConfiguration) -> dict[Location, Any]:
    """The keys of a `.runconfig`, each with the value that it has for this run configuration."""
    said = run_config.model_dump(mode="json")
    values: dict[Location, Any] = {
        ("target",): run_config.target,
        ("framework",): run_config.framework,
        ("maxRunDurationSeconds",): run_config.max_run_duration_seconds,
        ("prepareTimeoutSeconds",): run_config.prepare_timeout_seconds,
        ("leaseSeconds",): run_config.lease_seconds,
        ("exitCodePolicy",): said["exit_code_policy"],
        ("maxPreemptions",): run_config.max_preemptions,
        ("environmentVariables",): said["environment_variables"],
    }
    for name, value in run_config.resources:
        values["resources", name] = value
    spark = run_config.spark
    values["spark", "configuration"] = dict(spark.configuration)
    values["spark", "driverMemory"] = spark.driver_memory
    values["spark", "driverCores"] = spark.driver_cores
    values["spark", "executorMemory"] = spark.executor_memory
    values["spark", "executorCores"] = spark.executor_cores
    values["spark", "executorInstances"] = spark.executor_instances
    docker: DockerConfiguration | None = run_config.docker
    values["docker", "useDocker"] = docker is not None and docker.use_docker
    values["docker", "arguments"] = [] if docker is None else list(docker.arguments)
    values["docker", "shmSize"] = "2g" if docker is None else docker.shm_size
    environment = run_config.environment
    if isinstance(environment, Environment):
        return values | _write_environment(environment, uses_docker=docker is not None)
    return {**values, ("environment",): environment}


def _write_environment(environment: Environment, *, uses_docker: bool) -> dict[Location, Any]:
    said = environment.model_dump(mode="json")
    docker, python, spark = said["docker"], said["python"], said["spark"]
    is_image = docker != Environment("plain").docker.model_dump(mode="json")
    packages = None
    if not python["user_managed_dependencies"]:
        packages = CondaDependencies(_underlying_structure=environment.python).as_dict()
    return {
        ("environment", *location): value
        for location, value in {
            ("name",): said["name"],
            ("environmentVariables",): said["environment_variables"],
            ("python", "userManagedDependencies"): python["user_managed_dependencies"],
            ("python", "interpreterPath"): python["interpreter_path"],
            ("python", "condaDependencies"): packages,
            ("python", "constraints"): python["constraints"],
            ("docker", "enabled"): is_image and not uses_docker,
            ("docker", "baseImage"): docker["base_image"],
            ("docker", "baseDockerfile"): docker["base_dockerfile"],
            ("docker", "buildContext"): _camel(docker["build_context"]),
            ("docker", "arguments"): docker["arguments"],
            ("docker", "shmSize"): docker["shm_size"],
            ("spark", "repositories"): spark["repositories"],
            ("spark", "packages"): [
                dict(zip(("group", "artifact", "version"), one.split(":"), strict=True))
                for one in spark["packages"]
            ],
            ("spark", "jars"): spark["jars"],
            ("spark", "configuration"): spark["configuration"],
        }.items()
    }


def _camel(context: dict[str, Any] | None) -> dict[str, Any] | None:
    if context is None:
        return None
    names = {"snapshot_id": "snapshotId", "dockerfile_path": "dockerfilePath"}
    return {names.get(key, key): value for key, value in context.items() if value is not None}
