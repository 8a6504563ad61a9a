"""A secret by reference: where in Airflow it is, and never what it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)

from airflow_mltrain.config.model import ConfigModel
from airflow_mltrain.config.text import (
    NonEmptyText,
    PlainText,
    VariableName,
    check_variable_lengths,
    is_template,
)

if TYPE_CHECKING:
    from typing_extensions import Self

EXTRA: Final = "extra."
_FIELD: Final = re.compile(r"login|password|host|port|schema|extra\..+", re.DOTALL)


def _check_field(field: str) -> str:
    if not is_template(field) and not _FIELD.fullmatch(field):
        raise ValueError(
            "it should be login, password, host, port, schema, or extra. and a name in the "
            "connection's extra, such as 'extra.api_key'"
        )
    return field


class SecretReference(ConfigModel):
    """A field of an Airflow connection, its password unless another is named, or a variable.

    This is all that is kept of a secret. It is looked up whenever the run is handed to its target.
    """

    model_config = ConfigDict(frozen=True)

    connection: NonEmptyText | None = None
    field: Annotated[NonEmptyText, AfterValidator(_check_field)] | None = None
    variable: NonEmptyText | None = None

    @model_validator(mode="after")
    def _require_one(self) -> Self:
        if (self.connection is None) == (self.variable is None):
            raise ValueError("it should name a connection or a variable, and not both")
        if self.field is not None and self.connection is None:
            raise ValueError("field should be given with a connection; a variable has none")
        return self

    @model_serializer(mode="wrap")
    def _leave_out_none(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in dump(self).items() if value is not None}


def _find_branch(given: object) -> str:
    return "<text>" if isinstance(given, str) else "<reference>"


RunVariables: TypeAlias = Annotated[
    dict[
        VariableName,
        Annotated[
            Annotated[PlainText, Tag("<text>")] | Annotated[SecretReference, Tag("<reference>")],
            Discriminator(_find_branch),
        ],
    ],
    AfterValidator(check_variable_lengths),
]
"""Environment variables of one run, with secrets by reference."""
