"""What an environment comes down to when a job is started."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_mltrain.config.environment import Environment
from airflow_mltrain.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class EnvironmentPlan:
    """The interpreter that runs the script, and the variables its processes get."""

    interpreter: str
    environment_variables: Mapping[str, str] = field(default_factory=dict, repr=False)


def plan_environment(
    environment: Environment | None, *, default_interpreter: str
) -> EnvironmentPlan:
    """Decide what the environment means for a job; without one it is the default interpreter.

    Raises ConfigurationError where the environment asks for something that has to be built, or
    that would be left out without a word.
    """
    if environment is None:
        return EnvironmentPlan(default_interpreter)
    _check_possible(environment)
    python = environment.python
    interpreter = (
        python.interpreter_path if python.user_managed_dependencies else default_interpreter
    )
    return EnvironmentPlan(interpreter, dict(environment.environment_variables))


def _check_possible(environment: Environment) -> None:
    python, name = environment.python, environment.name
    plain = Environment(name)
    if python.user_managed_dependencies and python.packages:
        raise ConfigurationError(
            f"environment {name!r}: python.packages was given, and nothing is installed with "
            "python.user_managed_dependencies = True; install the packages for "
            f"{python.interpreter_path} yourself, and leave python.packages empty"
        )
    if asked := _list_asked(environment, plain):
        raise ConfigurationError(
            f"environment {name!r}: {', '.join(asked)} was given, and no environment is "
            "built; leave it out, and use python.user_managed_dependencies = True with a "
            "python.interpreter_path that has what the script needs"
        )
    if not python.user_managed_dependencies and python != plain.python:
        raise ConfigurationError(
            f"environment {name!r}: python.interpreter_path = {python.interpreter_path!r} counts "
            "only with python.user_managed_dependencies = True; set that too, or leave it out"
        )


def _list_asked(environment: Environment, plain: Environment) -> list[str]:
    asked = ["python.packages"] if environment.python.packages else []
    for section in ("docker", "spark"):
        default = getattr(plain, section)
        asked += [
            f"{section}.{key}"
            for key, value in getattr(environment, section)
            if value != getattr(default, key)
        ]
    return asked
