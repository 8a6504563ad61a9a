"""The command line of spark-submit, as Airflow's Spark provider makes it of a connection."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Protocol, cast

from airflow_mltrain.errors import ConfigurationError
from airflow_mltrain.runtime.job_agent.spark.command import KEYTAB
from airflow_mltrain.targets.spark_job import SparkRequest

_STANDALONE = "spark://"
_MANAGERS: Final = {_STANDALONE: "standalone", "yarn": "yarn", "k8s://": "kubernetes"}
_DEFAULT_CORES = 1  # of an executor whose cores nobody said, where their number is


@dataclass(frozen=True)
class SubmitCommand:
    """The words of spark-submit before its application, and what does not belong into words."""

    words: tuple[str, ...]
    master: str
    keytab: str | None  # its content in Base64; the words have a mark where its path belongs


class _Commander(Protocol):
    master: str
    deploy_mode: str | None

    def make(self) -> SubmitCommand: ...


@cache
def _commander() -> type[Any]:
    """The provider's hook, which resolves a connection, as something that starts nothing."""
    from airflow.providers.apache.spark.hooks.spark_submit import (  # noqa: PLC0415 - dear
        SparkSubmitHook,
    )

    class Commander(SparkSubmitHook):
        keytab: str | None = None

        def make(self) -> SubmitCommand:
            words = [*self._get_spark_binary_path(), *self._build_spark_common_args()]
            return SubmitCommand(tuple(words), self.master, self.keytab)

        @property
        def master(self) -> str:
            return str(self._connection["master"])

        @property
        def deploy_mode(self) -> Any:
            return self._connection["deploy_mode"]

        def _create_keytab_path_from_base64_keytab(
            self,
            base64_keytab: str,
            principal: str | None,  # noqa: ARG002
        ) -> str:
            self.keytab = base64_keytab  # the provider would leave it in this machine's /tmp
            return KEYTAB

    return Commander


@dataclass(frozen=True)
class Deployment:
    """The master that a connection names, and whether its drivers run on the cluster."""

    master: str
    manager: str | None  # which kind of master puts the drivers on its cluster; None: they stay

    @property
    def is_standalone(self) -> bool:
        """Whether the master is one of Spark's own."""
        return self.master.startswith(_STANDALONE)

    @property
    def masters(self) -> tuple[str, ...]:
        """The addresses, host:port, of a standalone master and its standbys."""
        return tuple(self.master.removeprefix(_STANDALONE).split(","))


def find_deployment(name: str, conn_id: str) -> Deployment:
    """Where the drivers of a connection run; ConfigurationError where it cannot be used."""
    hook = _hook(name, conn_id)
    mode = hook.deploy_mode or "client"
    if mode not in ("client", "cluster"):
        raise ConfigurationError(
            f"connection {name!r}: deploy-mode is {mode!r}; it should be 'client' or 'cluster'"
        )
    if mode == "client":
        return Deployment(hook.master, None)
    kinds = [kind for scheme, kind in _MANAGERS.items() if hook.master.startswith(scheme)]
    if not kinds:
        raise ConfigurationError(
            f"connection {name!r}: deploy-mode is 'cluster', for a master that is spark://..., "
            f"yarn or k8s://..., and this one is {hook.master!r}; set it to 'client': the driver "
            "then runs on this machine or on the `edge_node` of the extra 'mltrain'"
        )
    return Deployment(hook.master, kinds[0])


def find_program(name: str, conn_id: str) -> str:
    """Which program begins drivers, by the connection: spark-submit, unless it names another."""
    return _hook(name, conn_id).make().words[0]


def make_command(name: str, conn_id: str, run_id: str, request: SparkRequest) -> SubmitCommand:
    """What begins the driver of a run."""
    deployment = find_deployment(name, conn_id)
    cores, total = request.executor_cores, None
    settings: dict[str, Any] = {}
    if request.executor_instances is not None:
        if deployment.is_standalone:
            # A standalone master counts cores, not executors.
            cores = cores or _DEFAULT_CORES
            total = cores * request.executor_instances
        else:
            settings["num_executors"] = request.executor_instances
    hook = _hook(
        name,
        conn_id,
        name=run_id,
        deploy_mode=_mode_of_submit(deployment),
        packages=",".join(request.packages) or None,
        repositories=",".join(request.repositories) or None,
        jars=",".join(request.jars) or None,
        driver_memory=request.driver_memory,
        executor_memory=request.executor_memory,
        executor_cores=cores,
        total_executor_cores=total,
        **settings,
    )
    return hook.make()


def _mode_of_submit(deployment: Deployment) -> str:
    """On a worker of a standalone cluster, the driver is begun by a spark-submit of its own."""
    is_sent = deployment.manager is not None and not deployment.is_standalone
    return "cluster" if is_sent else "client"


def _hook(target: str, conn_id: str, **settings: Any) -> _Commander:
    try:
        return cast("_Commander", _commander()(conn_id=conn_id, **settings))
    except (ValueError, RuntimeError) as error:
        raise ConfigurationError(f"connection {target!r}: {error}") from error
    except NameError as error:  # the provider looks for a module that it could not import
        raise ConfigurationError(
            f"connection {target!r}: its master is one of Kubernetes, for which the Spark "
            "provider needs another: install apache-airflow-providers-cncf-kubernetes"
        ) from error
