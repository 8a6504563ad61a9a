"""What Airflow learns of this package when it starts; imports nothing."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Connection type, operators, sensors, triggers, links, commands and `[mltrain]`."""
    return {
        "package-name": "airflow-mltrain",
        "name": "ML Training",
        "description": "Submit machine-learning training scripts to compute targets.",
        "integrations": [
            {"integration-name": "ML Training", "tags": ["software"]},
        ],
        "operators": [
            _modules(
                "airflow_mltrain.operators.submit_training_run",
                "airflow_mltrain.operators.build_environment",
                "airflow_mltrain.operators.reconcile_training_runs",
            )
        ],
        "sensors": [_modules("airflow_mltrain.sensors.training_run")],
        "triggers": [_modules("airflow_mltrain.triggers.training_run")],
        "hooks": [
            _modules("airflow_mltrain.hooks.compute_target", "airflow_mltrain.hooks.environment")
        ],
        "connection-types": [_COMPUTE_TARGET],
        "extra-links": [
            "airflow_mltrain.links.TrainingRunLink",
            "airflow_mltrain.links.SparkApplicationLink",
        ],
        "task-decorators": [
            {"name": "train", "class-name": "airflow_mltrain.decorators.train.train_task"}
        ],
        "cli": ["airflow_mltrain.cli.airflow_program.get_commands"],
        "config": {
            "mltrain": {
                "description": "Where training runs are recorded, kept and executed.",
                "options": _OPTIONS,
            }
        },
    }


def _modules(*names: str) -> dict[str, Any]:
    return {"integration-name": "ML Training", "python-modules": list(names)}


def _option(description: str, default: str, kind: str = "string", **more: Any) -> dict[str, Any]:
    return {
        "description": description,
        "version_added": "0.1.0",
        "type": kind,
        "example": more.pop("example", None),
        "default": default,
        **more,
    }


def _field(label: str, description: str, *, kind: str = "string", **more: Any) -> dict[str, Any]:
    schema = {"type": [kind, "null"], **more}
    return {"label": label, "description": description, "schema": schema}


_COMPUTE_TARGET = {
    "connection-type": "mltrain_compute",
    "hook-class-name": "airflow_mltrain.hooks.compute_target.ComputeTargetHook",
    "hook-name": "ML compute target",
    "ui-field-behaviour": {
        "hidden-fields": ["host", "schema", "login", "password", "port"],
        "relabeling": {},
        "placeholders": {},
    },
    "conn-fields": {
        "kind": _field(
            "Kind",
            "What the target is: `local` is the machine that submits, `ssh` a host that an SSH "
            "connection leads to, `docker` an engine that runs containers, `spark` a cluster. "
            "Fields of another kind stay empty.",
            enum=["local", "ssh", "docker", "spark"],
            default="local",
        ),
        "connection": _field(
            "Connection",
            "Kind `ssh`: the id of a connection of type SSH: host, login and credentials. Kind "
            "`spark`: one of type Spark: the master. Kind `docker`, if need be: one of type "
            "Docker, for the registry's login and what is left empty here.",
        ),
        "max_concurrent_runs": _field(
            "Runs at once",
            "Every kind. The rest waits as Queued; empty for no limit.",
            kind="integer",
            minimum=1,
        ),
        "gpus": _field(
            "GPUs",
            "Kinds `local`, `ssh` and `docker`: how many there are, or their names as JSON, such "
            'as ["0", "GPU-8932f937"]. Each goes to one run at a time.',
        ),
        "root": _field(
            "Root folder",
            "Kinds `local`, `ssh` and `spark`: everything of a run lies below it: an absolute "
            "path, or on a host also ~/...; empty for ~/.mltrain there.",
        ),
        "python": _field(
            "Python",
            "Kinds `ssh`, `docker` and `spark`: name or path of the Python, 3.8 or newer, of the "
            "host, the images, or the cluster's machines; empty to look for one.",
        ),
        "environment_variables": _field(
            "Environment variables",
            "Kinds `ssh`, `docker` and `spark`: what runs begin with, as JSON, such as "
            '{"SSL_CERT_FILE": "/etc/ssl/corporate.pem"}.',
            format="password",
        ),
        "jump_host": _field(
            "Jump host",
            "Kind `ssh`, for a host that is reached through another: the id of that one's SSH "
            "connection.",
        ),
        "proxy_command": _field(
            "Proxy command",
            "Kind `ssh`: or a command whose input and output lead to the host, with %h, %p and %r "
            "for its name, port and login.",
        ),
        "engine": _field(
            "Docker engine",
            "Kind `docker`: its URL, unix:///path, tcp://host:2376 or ssh://user@host; empty for "
            "unix:///var/run/docker.sock. One with TLS needs a connection of type Docker.",
        ),
        "image": _field(
            "Image",
            "Kind `docker`: what runs whose environment names no image run in, such as "
            "python:3.12-slim.",
        ),
        "network": _field(
            "Network",
            "Kind `docker`: the engine's network that runs are in; empty for the engine's own.",
        ),
        "user": _field(
            "User",
            "Kind `docker`: whom scripts run as, by name or number; empty for the image's user.",
        ),
        "memory": _field(
            "Memory of a run",
            "Kind `docker`: the most that one run gets, such as 16g; empty for no limit.",
        ),
        "cpus": _field(
            "CPUs of a run",
            "Kind `docker`: the most that one run gets, such as 2.5; empty for no limit.",
            kind="number",
        ),
        "keep_containers": _field(
            "Keep containers",
            "Kind `docker`: whether the container of a run that ended stays, to be looked at. "
            "Empty is `never`.",
            enum=["never", "on_failure", "always"],
        ),
        "edge_node": _field(
            "Edge node",
            "Kind `spark`: the id of the SSH connection of the host that drivers run on; empty "
            "for the machine that submits.",
        ),
        "spark_home": _field(
            "Spark folder",
            "Kind `spark`: where Spark is installed on the machine that drivers run on; empty to "
            "take spark-submit from the PATH.",
        ),
        "master_pages": _field(
            "Master's pages",
            "Kind `spark`: the address of a standalone master's pages, such as "
            "http://master:8080; empty for port 8080 of the master.",
        ),
        "history_pages": _field(
            "History server",
            "Kind `spark`: the address of the history server's pages, such as http://history:18080.",
        ),
        "master_gateway": _field(
            "Master's REST gateway",
            "Kind `spark` with deploy mode cluster: where a standalone master takes drivers, such "
            "as http://master:6066; empty for port 6066 of the master.",
        ),
        "callback_host": _field(
            "Callback host",
            "Kind `spark` with deploy mode cluster: under which name the cluster's workers reach "
            "the machine that submits; empty for its address on the way to the master.",
        ),
        "callback_ports": _field(
            "Callback ports",
            "Kind `spark` with deploy mode cluster: at which ports they reach it, such as "
            "47000-47010, one for each run; empty for any.",
        ),
        "driver_alone_seconds": _field(
            "Patience of drivers",
            "Kind `spark` with deploy mode cluster: how many seconds a driver lives that no "
            "longer reaches the machine that submitted it; empty for 300.",
            kind="integer",
            minimum=1,
        ),
        "executor_timeout_seconds": _field(
            "Patience for executors",
            "Kind `spark`: how many seconds a job may wait for its first executor; empty for 600.",
            kind="integer",
            minimum=1,
        ),
    },
}

_OPTIONS = {
    "database": _option(
        "The run history: a database URL (SQLite or PostgreSQL), or the id of an Airflow "
        "connection of type postgres. Empty: SQLite in ``$AIRFLOW_HOME/mltrain/history.db``.",
        "",
        example="postgresql://mltrain@db.example.org/mltrain",
        sensitive=True,
    ),
    "artifacts": _option(
        "Where snapshots, logs and outputs are kept: a folder, or a URL that fsspec knows, such "
        "as ``s3://bucket/prefix``, or ``s3://connection@bucket/prefix`` with the id of an "
        "Airflow connection. Empty: ``$AIRFLOW_HOME/mltrain/artifacts``.",
        "",
        example="s3://bucket/mltrain",
    ),
    "artifacts_cache": _option(
        "The folder in which this machine keeps copies where ``artifacts`` is a URL. "
        "Empty: ``$AIRFLOW_HOME/mltrain/artifacts-cache``.",
        "",
        example="/var/cache/mltrain",
    ),
    "local_root": _option(
        "The folder in which the compute target ``local`` runs. "
        "Empty: ``$AIRFLOW_HOME/mltrain/local``.",
        "",
        example="/srv/mltrain/local",
    ),
    "local_max_concurrent_runs": _option(
        "How many runs the compute target ``local`` executes at once; 0 for no limit.",
        "0",
        "integer",
    ),
    "snapshot_max_megabytes": _option(
        "The largest source directory that is accepted, in megabytes.", "300", "integer"
    ),
    "environments_max_gigabytes": _option(
        "How much built environments may take on a compute target, in gigabytes. The least "
        "recently used go first, never one that a run is using; 0 for no limit.",
        "50",
        "float",
    ),
    "cancel_grace_seconds": _option(
        "How long a canceled run has between SIGTERM and SIGKILL, in seconds.", "30", "float"
    ),
    "defer_after_seconds": _option(
        "How long a task follows its run itself before it defers, in seconds.", "10", "float"
    ),
    "unreachable_timeout_seconds": _option(
        "How long a wait goes on without an answer of the compute target, the run history or the "
        "artifact store, in seconds. Then the task fails and its run goes on; 0 for no limit.",
        "86400",
        "float",
    ),
}
