"""How an environment is referred to: by its name, and perhaps a version or a label."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from airflow_mltrain.config.fault import describe
from airflow_mltrain.errors import ConfigurationError

LATEST: Final = "latest"

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_LARGE_NUMBER = re.compile(r"[1-9][0-9]{9,}")


@dataclass(frozen=True)
class EnvironmentReference:
    """A name, and perhaps a version or a label; `str()` gives what `parse` takes.

    Without either it is the newest version, and so it is with the label `latest`. Raises
    ConfigurationError where no environment can be meant.
    """

    name: str
    version: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        try:
            check_environment_name(self.name)
            if self.label is not None:
                check_label(self.label)
        except ValueError as error:
            raise ConfigurationError(f"environment {str(self)!r}: {error}") from None
        if self.version is not None and self.label is not None:
            raise ConfigurationError(
                f"environment {self.name!r}: version {self.version} and label {self.label!r} were "
                "both given; give one of them"
            )

    def __str__(self) -> str:
        if self.version is not None:
            return f"{self.name}:{self.version}"
        return self.name if self.label is None else f"{self.name}@{self.label}"

    @classmethod
    def parse(
        cls, text: str, version: int | str | None = None, label: str | None = None
    ) -> EnvironmentReference:
        """Read `name`, `name:3` or `name@label`; a version or label may be given apart, too."""
        if not isinstance(text, str):
            raise ConfigurationError(f"environment {describe(text)}: its name should be text")
        try:
            name, written_version, written_label = _split(text)
            given_version = None if version is None else _read_version(str(version))
        except ValueError as error:
            shown = text if version is None else f"{text}, version {version}"
            raise ConfigurationError(f"environment {shown!r}: {error}") from None
        for written, given in ((written_version, given_version), (written_label, label)):
            if written is not None and given not in (None, written):
                raise ConfigurationError(
                    f"environment {text!r} was asked for with {given!r} besides; give one of them"
                )
        return cls(
            name,
            written_version if given_version is None else given_version,
            written_label if label is None else label,
        )


def check_reference(text: str) -> str:
    """Give `text` back; raises ValueError where it refers to no environment."""
    _split(text)
    return text


def check_environment_name(name: str) -> str:
    """Give `name` back; raises ValueError where no environment can have it."""
    if not _NAME.fullmatch(name) or set(name) == {"."}:
        raise ValueError("it should be 1 to 255 letters, digits, hyphens, underscores and dots")
    return name


def check_label(label: str) -> str:
    """Give `label` back; raises ValueError where nothing can be labelled so.

    `latest` passes: it can be asked for. Who sets labels refuses it with `check_new_label`.
    """
    if not isinstance(label, str):
        raise ValueError("its label should be text")  # noqa: TRY004 - as for every wrong label
    if not _NAME.fullmatch(label):
        raise ValueError(
            "its label should be 1 to 255 letters, digits, hyphens, underscores and dots"
        )
    return label


def check_new_label(label: str) -> str:
    """Give `label` back; raises ConfigurationError where it cannot be set."""
    if label == LATEST:
        raise ConfigurationError(
            f"label {LATEST!r} always means the newest version and cannot be set; "
            "register a new version, or choose another label"
        )
    try:
        return check_label(label)
    except ValueError as error:
        raise ConfigurationError(f"label {label!r}: {error}") from None


def _split(text: str) -> tuple[str, int | None, str | None]:
    name, colon, version = text.partition(":")
    if colon:
        return check_environment_name(name), _read_version(version), None
    name, at_sign, label = text.partition("@")
    return check_environment_name(name), None, check_label(label) if at_sign else None


def _read_version(version: str) -> int:
    if _LARGE_NUMBER.fullmatch(version):
        raise ValueError("its version has more digits than any; versions count from 1")
    if not _VERSION.fullmatch(version):
        raise ValueError(
            "it should be a name, or a name and a version or label such as 'sklearn:3' or "
            "'sklearn@production'; a version is a whole number from 1"
        )
    return int(version)
