"""What Azure ML's SDK has and this package has not: naming it is no error, using it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

from airflow_mltrain.errors import AbsentError

_IN_SCRIPT: Final = "what a run logs and keeps, its script says: mltrain.Run.get_context()"
_CONNECTIONS: Final = (
    "compute targets are Airflow connections; make one there, and give its name as compute_target"
)
_DATA: Final = "pass the path or address of the data in arguments, and read it in the script"
_ONE_PROCESS: Final = (
    "a run is one process of one machine; begin the others in the script, or use a Spark target"
)
_RESUME: Final = "a retry finds what the run before it left in Run.previous_outputs"
_SWEEP: Final = "submit a run for each set of arguments, in a Dag by mapping the task"
_PIPELINE: Final = "a pipeline is a Dag: SubmitTrainingRunOperator is a step of it"
_NO_LOGIN: Final = "nobody logs in: the workspace is what [mltrain] in airflow.cfg names"
_SERVING: Final = "download the model with run.download_file, and serve it with a tool for that"
_SERVICE: Final = "there is no service behind a workspace, but a database and a folder: print(ws)"

CLASSES: Final = {
    **dict.fromkeys(("Dataset", "Datastore", "OutputFileDatasetConfig", "DataReference"), _DATA),
    **dict.fromkeys(("ComputeTarget", "AmlCompute", "ComputeInstance"), _CONNECTIONS),
    **dict.fromkeys(("RemoteCompute", "HDInsightCompute", "KubernetesCompute"), _CONNECTIONS),
    **dict.fromkeys(("MpiConfiguration", "PyTorchConfiguration"), _ONE_PROCESS),
    **dict.fromkeys(("TensorflowConfiguration", "ParallelRunConfig"), _ONE_PROCESS),
    **dict.fromkeys(("HyperDriveConfig", "AutoMLConfig"), _SWEEP),
    **dict.fromkeys(("Pipeline", "PythonScriptStep", "EstimatorStep"), _PIPELINE),
    **dict.fromkeys(("InteractiveLoginAuthentication", "MsiAuthentication"), _NO_LOGIN),
    "ServicePrincipalAuthentication": _NO_LOGIN,
    **dict.fromkeys(("Model", "Webservice", "Image"), _SERVING),
    "Keyvault": "give an environment variable a SecretReference, and read it in the script",
}
"""Each class that submission code imports and that is not here, with what to do instead."""

MEMBERS: Final = {
    "Run": {
        **dict.fromkeys(("log", "log_list", "log_row", "log_table", "log_image"), _IN_SCRIPT),
        **dict.fromkeys(("log_confusion_matrix", "log_accuracy_table"), _IN_SCRIPT),
        **dict.fromkeys(("log_residuals", "log_predictions", "flush"), _IN_SCRIPT),
        **dict.fromkeys(("upload_file", "upload_files", "upload_folder"), _IN_SCRIPT),
        **dict.fromkeys(("child_run", "create_children", "submit_child"), _IN_SCRIPT),
        **dict.fromkeys(("register_model", "description"), _IN_SCRIPT),
        **dict.fromkeys(("start", "complete", "fail"), "its script's exit code says how it ended"),
        **dict.fromkeys(("get_secret", "get_secrets"), CLASSES["Keyvault"]),
        "get_portal_url": "its page is linked from its task in Airflow; print(run) says its id",
        "clean": "`mltrain gc` removes what old runs left on a compute target",
        "take_snapshot": "submitting takes the snapshot, of source_directory",
        "get_submitted_run": "get_context gives it",
        "list_by_compute": "choose from Run.list(experiment) by run.get_details()['target']",
    },
    "Experiment": {
        "start_logging": "submit a script; in a notebook mltrain.Run.get_context() logs offline",
        "delete": "an experiment is its runs, which are kept; archive() takes it off the list",
        "from_directory": "name it: Experiment(workspace, name)",
        "get_docs_url": "the documentation is in the package's docs folder",
        "get_portal_url": "its runs are linked from their tasks in Airflow",
    },
    "Workspace": {
        **dict.fromkeys(("name", "subscription_id", "resource_group", "location"), _SERVICE),
        **dict.fromkeys(("sku", "tags", "discovery_url", "service_context", "update"), _SERVICE),
        **dict.fromkeys(("create", "setup", "list", "delete", "sync_keys", "list_keys"), _SERVICE),
        **dict.fromkeys(("get_details", "update_dependencies", "diagnose_workspace"), _SERVICE),
        **dict.fromkeys(("add_private_endpoint", "private_endpoints"), _SERVICE),
        **dict.fromkeys(("get_connection", "set_connection", "list_connections"), _CONNECTIONS),
        "write_config": "the workspace is what [mltrain] in airflow.cfg names, on every machine",
        "experiments": "Experiment.list(ws) lists them",
        "get_run": "Run.get(ws, run_id) finds it",
        **dict.fromkeys(("compute_targets", "get_default_compute_target"), _CONNECTIONS),
        **dict.fromkeys(("datastores", "datasets", "get_default_datastore"), _DATA),
        "get_default_keyvault": CLASSES["Keyvault"],
        **dict.fromkeys(("models", "webservices", "images"), _SERVING),
        "get_mlflow_tracking_uri": "metrics are in the run history: run.get_metrics()",
    },
    "ScriptRunConfig": {
        "distributed_job_config": _ONE_PROCESS,
        "resume_from": _RESUME,
    },
    "RunConfiguration": {
        **dict.fromkeys(("communicator", "node_count", "mpi", "tensorflow"), _ONE_PROCESS),
        **dict.fromkeys(("pytorch", "paralleltask"), _ONE_PROCESS),
        **dict.fromkeys(("script", "arguments", "command"), "give it to ScriptRunConfig"),
        **dict.fromkeys(("data_references", "data", "datacaches", "output_data"), _DATA),
        "source_directory_data_store": "the source directory is kept in the artifact store",
        "history": "outputs/ and logs/ are always kept, and so is the source directory",
        "hdi": "the connection of a Spark compute target says its deploy mode",
        **dict.fromkeys(("amlcompute", "kubernetescompute"), _CONNECTIONS),
        "priority": "give the task a pool and a priority_weight in Airflow",
        "credential_passthrough": "give environment variables a SecretReference",
        "services": "log in on the target itself, while the run goes on",
        "delete": "remove the file",
        "auto_prepare_environment": "an environment is always prepared; leave it out",
    },
    "Environment": {
        "build": "BuildEnvironmentOperator and `mltrain env build` do that; a run does it, too",
        "build_local": "`mltrain env build` builds it on the compute target `local`",
        "get_image_details": "run.get_environment() says what a run's environment came down to",
        **dict.fromkeys(("databricks", "r"), "a script is started by Python, or is a command"),
        "inferencing_stack_version": _SERVING,
        "asset_id": "an environment is known by its name and version",
    },
    "PythonSection": {
        "conda_dependencies_file": "assign CondaDependencies(path) to conda_dependencies",
    },
    "DockerSection": {
        "enabled": "a Docker compute target runs images, others do not; leave it out, or require "
        "one with run_config.docker = DockerConfiguration(use_docker=True)",
        "use_docker": "it is run_config.docker = DockerConfiguration(use_docker=True)",
        **dict.fromkeys(("gpu_support", "shared_volumes"), "leave it out"),
        "base_image_registry": "give the registry's login in the compute target's connection",
        "platform": "an image runs on the platform of its engine",
    },
    "SparkSection": {"precache_packages": "Spark packages are fetched when they are needed"},
    "SparkConfiguration": {"precache_packages": "leave it out"},
    "CondaDependencies": {
        **dict.fromkeys(
            ("add_cntk_package", "add_tensorflow_pip_package", "add_tensorflow_conda_package"),
            "name the package: add_pip_package('tensorflow')",
        ),
        "sdk_origin_url": "packages come from the index that set_pip_index_url names",
        "merge_requirements": "give all of them to pip_packages",
    },
}
"""Of each class that is here, what it has in Azure ML and has not here, and what to do instead."""


class _Absent(type):
    """The type of stand-ins: naming one is harmless, also as an annotation or in `isinstance`."""

    def __call__(cls, *_: object, **__: object) -> NoReturn:
        raise _explain(cls.__name__, CLASSES[cls.__name__])

    def __getattr__(cls, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise _explain(f"{cls.__name__}.{name}", CLASSES[cls.__name__])


_known: dict[str, type] = {}


def find_absent(name: str) -> type | None:
    """The stand-in for a class of Azure ML's SDK; the same one every time."""
    if name in CLASSES and name not in _known:
        _known[name] = _Absent(name, (), {"__module__": "airflow_mltrain"})
    return _known.get(name)


def explain_member(owner: type, name: str) -> AbsentError | None:
    """Why objects of `owner` have no such member, where Azure ML's have one."""
    for base in owner.__mro__:
        if remedy := MEMBERS.get(base.__name__, {}).get(name):
            return _explain(f"{base.__name__}.{name}", remedy)
    return None


class _Explaining(type):
    if not TYPE_CHECKING:  # where a type checker sees this method it accepts every name

        def __getattr__(cls, name: str) -> NoReturn:
            raise _absent_member(cls, name)


class Explaining(metaclass=_Explaining):
    """Says of each member that Azure ML's class has, and this one has not, what is instead."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            raise _absent_member(type(self), name)


def refuse_given(where: str, remedies: dict[str, str], given: dict[str, Any]) -> None:
    """Raise AbsentError, which names them all, where parameters that are not here were given."""
    faults = [
        f"{where}: {name} is not honoured here; {remedies.get(name, 'leave it out')}"
        for name, value in given.items()
        if value is not None
    ]
    if faults:
        raise AbsentError("\n".join(faults))


def _absent_member(owner: type, name: str) -> AttributeError:
    words = f"{owner.__name__!r} object has no attribute {name!r}"
    return explain_member(owner, name) or AttributeError(words)


def _explain(name: str, remedy: str) -> AbsentError:
    return AbsentError(f"{name} of Azure ML's SDK is not here: {remedy}")
