"""From a reference to a secret that Airflow keeps to the secret."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_mltrain.config.secret_reference import EXTRA, SecretReference
from airflow_mltrain.config.text import check_length, check_variable_lengths, is_template
from airflow_mltrain.errors import ConfigurationError


def look_up_secrets(variables: Mapping[str, str | SecretReference]) -> dict[str, str]:
    """What the references among environment variables refer to; nothing of the other variables.

    Airflow is asked as for any connection or variable: its secrets backends, its environment
    (`AIRFLOW_CONN_...`, `AIRFLOW_VAR_...`), and within a task its database. It masks in the task's
    log what is found. Raises ConfigurationError, which shows no value, where there is no such
    secret, or no process could get it.
    """
    found = {}
    for name, given in variables.items():
        if isinstance(given, SecretReference):
            found[name] = _look_up(f"run_config.environment_variables.{name}", given)
            _check_value(name, found[name])
    return found


def _look_up(key: str, reference: SecretReference) -> str:
    from airflow.sdk.log import mask_secret  # noqa: PLC0415 - the core starts without Airflow

    for text in (reference.connection, reference.field, reference.variable):
        if text is not None and is_template(text):
            raise ConfigurationError(
                f"{key}: {text!r} is a Jinja template that nothing has rendered; templates are "
                "rendered in a Dag, elsewhere write the name"
            )
    if reference.variable is not None:
        value = _read_variable(key, reference.variable)
    else:
        value = _read_connection(key, reference.connection or "", reference.field or "password")
    if value:
        mask_secret(value)
    return value


def _read_variable(key: str, name: str) -> str:
    from airflow.sdk import Variable  # noqa: PLC0415
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType  # noqa: PLC0415

    try:
        return str(Variable.get(name))
    except AirflowRuntimeError as error:
        if error.error.error is not ErrorType.VARIABLE_NOT_FOUND:
            raise
    raise ConfigurationError(
        f"{key}: there is no Airflow variable {name!r}; create it where the run is submitted, or "
        "name another"
    )


def _read_connection(key: str, conn_id: str, field: str) -> str:
    from airflow.sdk import BaseHook  # noqa: PLC0415
    from airflow.sdk.exceptions import AirflowNotFoundException  # noqa: PLC0415

    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise ConfigurationError(
            f"{key}: there is no Airflow connection {conn_id!r}; create it where the run is "
            "submitted, or name another"
        ) from None
    if field.startswith(EXTRA):
        value = connection.extra_dejson.get(field.removeprefix(EXTRA))
    else:
        value = getattr(connection, field)
    if value is None:
        raise ConfigurationError(
            f"{key}: connection {conn_id!r} has no {field}; give it one, or name another field"
        )
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        raise ConfigurationError(
            f"{key}: {field} of connection {conn_id!r} is neither text nor a number; name a field "
            "that is one"
        )
    return str(value)


def _check_value(name: str, value: str) -> None:
    try:
        check_variable_lengths({name: check_length(value)})
    except ValueError as error:
        raise ConfigurationError(f"run_config.environment_variables.{name}: {error}") from None
