"""From a `.runconfig` file of Azure ML's SDK to a script run config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from airflow_mltrain.absent import MEMBERS
from airflow_mltrain.config.docker_configuration import DockerConfiguration
from airflow_mltrain.config.environment import Environment
from airflow_mltrain.config.environment_reading import DOCKER_UNUSED, EnvironmentReading
from airflow_mltrain.config.file_keys import (
    Lack,
    LackRule,
    as_texts,
    find_lacks,
    read_keys,
    spell_texts,
)
from airflow_mltrain.config.run_config_file import EnvironmentKeys, RunConfigKeys
from airflow_mltrain.config.yaml_document import Location, YamlDocument

_ENVIRONMENT: Final[Location] = ("environment",)
_NOT_HERE: Final = MEMBERS["RunConfiguration"]
_SDK_SPARK: Final = {
    "spark.app.name": "Azure ML Experiment",
    "spark.yarn.maxAppAttempts": "1",
}

_TEXTS: Final = (
    ("command",),
    ("arguments",),
    ("environment_variables",),
    ("tags",),
    ("docker", "arguments"),
    ("spark", "configuration"),
)

_LACKS: Final[Sequence[LackRule]] = (
    (("communicator",), ("None",), _NOT_HERE["communicator"], True),
    (("nodeCount",), (1,), _NOT_HERE["node_count"], True),
    (("priority",), (), _NOT_HERE["priority"], False),
    (("history", "outputCollection"), (True,), _NOT_HERE["history"], False),
    (("history", "snapshotProject"), (True,), _NOT_HERE["history"], False),
    (("history", "directoriesToWatch"), (["logs"],), _NOT_HERE["history"], False),
    (("hdi",), ({"yarnDeployMode": "cluster"},), _NOT_HERE["hdi"], False),
    (
        ("tensorflow",),
        ({"workerCount": 1, "parameterServerCount": 1},),
        _NOT_HERE["tensorflow"],
        False,
    ),
    (("mpi",), ({"processCountPerNode": 1, "nodeCount": 1},), _NOT_HERE["mpi"], False),
    (
        ("pytorch",),
        ({"communicationBackend": "nccl", "nodeCount": 1},),
        _NOT_HERE["pytorch"],
        False,
    ),
    (
        ("paralleltask",),
        ({"maxRetriesPerWorker": 0, "workerCountPerNode": 1},),
        _NOT_HERE["paralleltask"],
        False,
    ),
    (("dataReferences",), (), _NOT_HERE["data_references"], True),
    (("data",), (), _NOT_HERE["data"], True),
    (("datacaches",), (), _NOT_HERE["datacaches"], True),
    (("outputData",), (), "write to outputs/, which is kept", True),
    (("sourceDirectoryDataStore",), (), _NOT_HERE["source_directory_data_store"], False),
    (("amlcompute",), (), _NOT_HERE["amlcompute"], False),
    (("autoClusterComputeSpecification",), (), _NOT_HERE["amlcompute"], False),
    (("kubernetescompute",), (), _NOT_HERE["kubernetescompute"], False),
    (("credentialPassthrough",), (False,), _NOT_HERE["credential_passthrough"], False),
    (("applicationEndpoints",), (), _NOT_HERE["services"], False),
    (("services",), (), _NOT_HERE["services"], False),
    (("docker", "sharedVolumes"), (True,), "leave it out", False),
)


@dataclass
class RunConfigReading:
    """What a file comes down to: values of a ScriptRunConfig, and what is not here."""

    document: YamlDocument
    project: Path  # paths in the file count from here
    values: dict[str, Any] = field(default_factory=dict)
    lacks: list[Lack] = field(default_factory=list)

    @classmethod
    def read(cls, document: YamlDocument, project: Path) -> RunConfigReading:
        """Read the file; raises ConfigurationError, a line for each key that is wrong."""
        reading = cls(document, project)
        keys = read_keys(document, RunConfigKeys)
        reading._read(keys)
        return reading

    def _read(self, keys: RunConfigKeys) -> None:
        spell_texts(self.document, keys, _TEXTS)
        self.lacks += find_lacks(_LACKS, keys.model_dump(by_alias=True, exclude_none=True))
        docker = self._read_docker(keys)
        environment = self._read_environment(keys, uses_docker=docker is not None)
        values = {"script": keys.script, "command": keys.command, "arguments": keys.arguments}
        self.values = {
            name: value for name, value in values.items() if value not in (None, "", [])
        }
        if keys.tags:
            self.values["tags"] = keys.tags
        run_config = {
            "target": self._read_target(keys.target),
            "framework": self._read_framework(keys.framework),
            "environment": environment,
            "environment_variables": as_texts(keys.environment_variables),
            "docker": docker,
            "spark": self._read_spark(keys),
            "max_run_duration_seconds": keys.max_run_duration_seconds,
            "prepare_timeout_seconds": keys.prepare_timeout_seconds,
            "lease_seconds": keys.lease_seconds,
            "exit_code_policy": keys.exit_code_policy,
            "max_preemptions": keys.max_preemptions,
        }
        if keys.resources is not None:
            run_config["resources"] = keys.resources.model_dump(exclude_none=True)
        self.values["run_config"] = {k: v for k, v in run_config.items() if v is not None}

    def _read_target(self, target: str | None) -> str | None:
        if target == "amlcompute":
            self.lacks.append(Lack(("target",), _NOT_HERE["amlcompute"], changes_run=True))
            return None
        return target or None

    def _read_framework(self, framework: str | None) -> str | None:
        if framework in ("TensorFlow", "PyTorch", "CNTK"):
            self.lacks.append(Lack(("framework",), "its script is run by Python, once"))
            return None
        return framework

    def _read_docker(self, keys: RunConfigKeys) -> DockerConfiguration | None:
        said = keys.docker
        if said is None:
            return None
        if not said.use_docker:
            for key, value in (("arguments", said.arguments), ("shmSize", said.shm_size)):
                if value not in (None, [], "2g"):
                    self.lacks.append(Lack(("docker", key), DOCKER_UNUSED))
            return None
        with self.document.at("docker"):
            return DockerConfiguration(
                use_docker=True, arguments=said.arguments or [], shm_size=said.shm_size or "2g"
            )

    def _read_spark(self, keys: RunConfigKeys) -> dict[str, Any] | None:
        if keys.spark is None:
            return None
        said = keys.spark.model_dump(exclude_none=True)
        properties = as_texts(said.pop("configuration", {})) or {}
        asked = {k: v for k, v in properties.items() if _SDK_SPARK.get(k) != v}
        return {**said, "configuration": asked} if asked or said else None

    def _read_environment(
        self, keys: RunConfigKeys, *, uses_docker: bool
    ) -> Environment | str | None:
        said = keys.environment
        if said is None or said == "":
            return None
        if isinstance(said, str) and not said.endswith((".yml", ".yaml")):
            return said
        document, above = self.document, _ENVIRONMENT
        if isinstance(said, str):
            document, above = YamlDocument.read(self._find_file(said)), ()
            said = read_keys(document, EnvironmentKeys)
        reading = EnvironmentReading(document, above, self._find_file, uses_docker=uses_docker)
        environment = reading.read(said)
        told_by = None if document is self.document else document
        self.lacks += [replace(lack, document=told_by) for lack in reading.lacks]
        return environment

    def _find_file(self, name: str) -> Path:
        """A file that the file names: from the project, or else beside it."""
        beside = self.document.path.parent / name
        return self.project / name if (self.project / name).exists() else beside
