"""Azure ML's estimators: script run configs that were written with other names."""
# ruff: noqa: FBT001  # Azure ML's signatures

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, ClassVar, Final

from airflow_mltrain.absent import refuse_given
from airflow_mltrain.config.conda_dependencies import CondaDependencies
from airflow_mltrain.config.environment import Environment
from airflow_mltrain.config.model import only_names_fields
from airflow_mltrain.config.python_section import PythonSection
from airflow_mltrain.config.run_configuration import RunConfiguration
from airflow_mltrain.config.script_run import ScriptRunConfig
from airflow_mltrain.errors import ConfigurationError

_ONE_PROCESS: Final = (
    "a run is one process of one machine; begin the others in the script, or use a Spark target"
)
_REMEDIES: Final = {
    "vm_size": "name a compute target that exists",
    "vm_priority": "name a compute target that exists",
    "node_count": _ONE_PROCESS,
    "process_count_per_node": _ONE_PROCESS,
    "worker_count": _ONE_PROCESS,
    "parameter_server_count": _ONE_PROCESS,
    "distributed_backend": _ONE_PROCESS,
    "distributed_training": _ONE_PROCESS,
    "inputs": "pass the path or address of the data in script_params",
    "source_directory_data_store": "the source directory is kept in the artifact store",
    "resume_from": "a retry finds what the run before it left in Run.previous_outputs",
    "image_registry_details": "give the registry's login in the compute target's connection",
}
_ONES: Final = ("node_count", "process_count_per_node", "worker_count", "parameter_server_count")


class Estimator(ScriptRunConfig):
    """A script run config by the names of Azure ML's deprecated estimators.

    Its environment is made of the packages and images that are named here, isolated, or is
    `environment_definition`. Whether it runs in a container its compute target decides.
    """

    _package: ClassVar[str | None] = None

    @only_names_fields
    def __init__(  # noqa: PLR0913 - Azure ML's signature
        self,
        source_directory: str | PathLike[str],
        *,
        compute_target: Any = None,
        entry_script: str | None = None,
        script_params: Mapping[str, Any] | None = None,
        use_gpu: bool = False,
        use_docker: bool = True,
        custom_docker_base_image: str | None = None,
        custom_docker_image: str | None = None,
        user_managed: bool = False,
        conda_packages: Sequence[str] | None = None,
        pip_packages: Sequence[str] | None = None,
        conda_dependencies_file_path: str | PathLike[str] | None = None,
        pip_requirements_file_path: str | PathLike[str] | None = None,
        conda_dependencies_file: str | PathLike[str] | None = None,
        pip_requirements_file: str | PathLike[str] | None = None,
        environment_variables: Mapping[str, str] | None = None,
        environment_definition: Environment | str | None = None,
        shm_size: str | None = None,
        max_run_duration_seconds: int | None = None,
        framework_version: str | None = None,
        **not_here: Any,
    ) -> None:
        _refuse(type(self).__name__, not_here)
        if self._package is None and framework_version is not None:
            raise ConfigurationError(
                f"{type(self).__name__}: framework_version counts for the estimator of a "
                "framework; name the version in pip_packages"
            )
        image = custom_docker_image or custom_docker_base_image
        packages = {
            "custom_docker_image": image,
            "conda_packages": conda_packages,
            "pip_packages": pip_packages,
            "conda_dependencies_file": conda_dependencies_file or conda_dependencies_file_path,
            "pip_requirements_file": pip_requirements_file or pip_requirements_file_path,
            "framework_version": framework_version,
            "shm_size": shm_size,
        }
        if image is not None and not use_docker:
            raise ConfigurationError(
                f"{type(self).__name__}: custom_docker_image was given with use_docker=False; "
                "give one of them"
            )
        if environment_definition is None:
            environment: Environment | str = self._make_environment(packages, user_managed)
        elif (
            given := [name for name, value in packages.items() if value]
            + ["user_managed"] * user_managed
        ):
            raise ConfigurationError(
                f"{type(self).__name__}: environment_definition was given with "
                f"{', '.join(given)}; say it in the environment"
            )
        else:
            environment = environment_definition
        run_config: dict[str, Any] = {"environment": environment}
        run_config["environment_variables"] = dict(environment_variables or {})
        run_config["resources"] = {"gpus": 1 if use_gpu else 0}
        super().__init__(
            source_directory,
            entry_script,
            _list_arguments(script_params),
            RunConfiguration(**run_config),
            compute_target=compute_target,
            max_run_duration_seconds=max_run_duration_seconds,
        )

    def _make_environment(self, packages: Mapping[str, Any], user_managed: bool) -> Environment:
        name = type(self).__name__.lower()
        requirements = packages["pip_requirements_file"]
        environment = (
            Environment(name)
            if requirements is None
            else Environment.from_pip_requirements(name, requirements)
        )
        environment.python.user_managed_dependencies = user_managed
        found = environment.python.conda_dependencies
        if (file := packages["conda_dependencies_file"]) is not None:
            read, section = CondaDependencies(file), PythonSection()
            read.assign_to(section)
            for package in read.pip_packages:
                found.add_pip_package(package)
            for option in read.pip_options:
                found.set_pip_option(option)
            for package in read.conda_packages:
                found.add_conda_package(package)
            for channel in read.conda_channels:
                found.add_channel(channel)
            environment.python.take_credentials_over(section)
            environment.python.index.take_credentials_over(section.index)
        for package in packages["conda_packages"] or ():
            found.add_conda_package(package)
        for package in packages["pip_packages"] or ():
            found.add_pip_package(package)
        version = packages["framework_version"]
        if self._package is not None and not user_managed:
            found.add_pip_package(f"{self._package}=={version}.*" if version else self._package)
        environment.docker.base_image = packages["custom_docker_image"]
        if packages["shm_size"] is not None:
            environment.docker.shm_size = packages["shm_size"]
        return environment


class TensorFlow(Estimator):
    """An estimator whose environment has TensorFlow, `framework_version` or the newest."""

    _package = "tensorflow"
    __init__ = Estimator.__init__  # a type checker would make one of the fields


class PyTorch(Estimator):
    """An estimator whose environment has PyTorch, `framework_version` or the newest."""

    _package = "torch"
    __init__ = Estimator.__init__  # a type checker would make one of the fields


class SKLearn(Estimator):
    """An estimator whose environment has scikit-learn, `framework_version` or the newest."""

    _package = "scikit-learn"
    __init__ = Estimator.__init__  # a type checker would make one of the fields


class Chainer(Estimator):
    """An estimator whose environment has Chainer, `framework_version` or the newest."""

    _package = "chainer"
    __init__ = Estimator.__init__  # a type checker would make one of the fields


def _refuse(estimator: str, not_here: dict[str, Any]) -> None:
    given = {
        name: value
        for name, value in not_here.items()
        if not (name in _ONES and value == 1) and not name.startswith("_")
    }
    refuse_given(estimator, _REMEDIES, {n: v for n, v in given.items() if n in _REMEDIES})
    if unknown := sorted(given.keys() - _REMEDIES):
        raise TypeError(f"{estimator}() has no parameter {', '.join(unknown)}")


def _list_arguments(script_params: Mapping[str, Any] | None) -> list[Any]:
    """Each name and its value; a value that is empty leaves the name alone, as in Azure ML."""
    words = [word for pair in (script_params or {}).items() for word in pair]
    return [word for word in words if word is not None and word != ""]
