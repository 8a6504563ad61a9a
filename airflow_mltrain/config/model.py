"""The base of everything a user writes down."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from airflow_mltrain.absent import explain_member
from airflow_mltrain.config.fault import describe_faults
from airflow_mltrain.errors import ConfigurationError

if TYPE_CHECKING:
    from typing_extensions import Self

_Model = TypeVar("_Model", bound="ConfigModel")
_Init = TypeVar("_Init", bound=Callable[..., None])


def only_names_fields(init: _Init) -> _Init:
    """Mark an `__init__` that merely gives its arguments the names of fields.

    Pydantic then fills nested values straight from what was given, and so knows the whole key of
    a fault in them.
    """
    vars(init)["__pydantic_base_init__"] = True
    return init


class ConfigModel(BaseModel):
    """Refuses unknown names and wrong values, when made and when an attribute is assigned.

    Raises ConfigurationError with one line a fault; a refused assignment changes nothing.
    """

    model_config = ConfigDict(
        extra="forbid", validate_assignment=True, hide_input_in_errors=True, defer_build=True
    )

    @only_names_fields
    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _refusal(type(self), error) from None

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Make one from a mapping, as `model_dump` gives it or as a person writes it."""
        try:
            return super().model_validate(obj, **options)
        except ValidationError as error:
            raise _refusal(cls, error) from None

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """Make one from JSON text."""
        try:
            return super().model_validate_json(json_data, **options)
        except ValidationError as error:
            raise _refusal(cls, error) from None

    if not TYPE_CHECKING:  # where a type checker sees these methods it accepts every name

        def __getattr__(self, name: str) -> object:
            if (absent := explain_member(type(self), name)) is not None:
                raise absent
            return super().__getattr__(name)

        def __setattr__(self, name: str, value: object) -> None:
            try:
                super().__setattr__(name, value)
            except ValidationError as error:
                raise _refusal(type(self), error) from None


def validate_again(config: _Model) -> _Model:
    """A copy that was validated as a whole, for lists and mappings can be changed in place.

    It has no credentials that `config` keeps in memory. Raises ConfigurationError.
    """
    return type(config).model_validate(config.model_dump(warnings=False))


def _refusal(model: type[BaseModel], error: ValidationError) -> ConfigurationError:
    return ConfigurationError(describe_faults(model, error))
