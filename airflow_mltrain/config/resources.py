"""How much of a machine a run may use."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from airflow_mltrain.config.model import ConfigModel
from airflow_mltrain.config.size import parse_size
from airflow_mltrain.config.text import is_template
from airflow_mltrain.errors import ConfigurationError

_LEAST_MEMORY_BYTES: Final = 6 << 20  # an engine starts no container with less


def _refuse_bool(given: object) -> object:
    if isinstance(given, bool):
        raise ValueError("it should be a number")  # noqa: TRY004 - pydantic collects ValueErrors
    return given


def _check_memory(size: str) -> str:
    if not is_template(size) and parse_size(size) < _LEAST_MEMORY_BYTES:
        raise ValueError("it should be 6m or more, and have a unit, such as '4g'")
    return size


Cpus: TypeAlias = Annotated[float, BeforeValidator(_refuse_bool), Field(gt=0, le=10_000)]
Memory: TypeAlias = Annotated[str, AfterValidator(_check_memory)]
Gpus: TypeAlias = Annotated[int, BeforeValidator(_refuse_bool), Field(ge=0, le=10_000)]


class ResourcesSection(ConfigModel):
    """How many processors, how much memory and how many GPUs a run may use.

    Without a number of `cpus`, or without `memory`, that is not bounded.
    """

    cpus: Cpus | None = None
    memory: Memory | None = None
    gpus: Gpus = 0

    @property
    def memory_bytes(self) -> int | None:
        """The memory in bytes; raises ConfigurationError for a template nothing has rendered."""
        if self.memory is None:
            return None
        try:
            return parse_size(self.memory)
        except ValueError as error:
            raise ConfigurationError(
                f"{type(self).__name__}.memory: {self.memory!r} was given; {error}"
            ) from None
