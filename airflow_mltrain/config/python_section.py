"""The Python that runs a script: its version, its packages, and where they come from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, TypeAlias

from packaging.utils import InvalidName, canonicalize_name
from pydantic import AfterValidator, BeforeValidator, Field

from airflow_mltrain.config.conda_package import check_channel, check_conda_package
from airflow_mltrain.config.fault import describe
from airflow_mltrain.config.package_url import UrlHolder, check_url
from airflow_mltrain.config.requirement import check_constraint, check_hashes, check_requirement
from airflow_mltrain.config.text import NonEmptyText, is_template
from airflow_mltrain.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_mltrain.config.conda_dependencies import CondaDependencies

_VERSION = re.compile(r"3\.([0-9]+)(\.[0-9]+)?")
_OLDEST_MINOR = 8
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)(:[0-9]{1,5})?")


def check_python_version(version: str) -> str:
    """Give `version` back; raises ValueError unless it is 3.8 or newer, as 3.x or 3.x.y."""
    if is_template(version):
        return version
    match = _VERSION.fullmatch(version)
    if match is None:
        raise ValueError("it should be a version such as '3.11' or '3.11.7'")
    if int(match[1]) < _OLDEST_MINOR:
        raise ValueError("it should be '3.8' or newer")
    return version


def check_selection(name: str) -> str:
    """Give the canonical name back, or `:all:` or `:none:`; raises ValueError for no name."""
    if name in (":all:", ":none:") or is_template(name):
        return name
    try:
        return canonicalize_name(name, validate=True)
    except InvalidName:
        raise ValueError("it should be a package's name, ':all:' or ':none:'") from None


def check_host(host: str) -> str:
    """Give `host` back; raises ValueError unless it is a host, or a host and a port."""
    if not is_template(host) and not _HOST.fullmatch(host):
        raise ValueError("it should be a host, or a host and a port, without https://")
    return host


def _refuse_number(version: object) -> object:
    if isinstance(version, (int, float)):
        raise ValueError("it should be text, such as '3.10'; the number 3.10 is 3.1")  # noqa: TRY004 - pydantic collects ValueErrors
    return version


Url: TypeAlias = Annotated[NonEmptyText, AfterValidator(check_url)]
Selection: TypeAlias = Annotated[NonEmptyText, AfterValidator(check_selection)]
PythonVersion: TypeAlias = Annotated[
    str, BeforeValidator(_refuse_number), AfterValidator(check_python_version)
]
Packages: TypeAlias = Annotated[
    list[Annotated[NonEmptyText, AfterValidator(check_requirement)]], AfterValidator(check_hashes)
]
Constraint: TypeAlias = Annotated[NonEmptyText, AfterValidator(check_constraint)]


class IndexSection(UrlHolder):
    """Where packages come from, as pip's options of the same names say.

    Without `url` it is what the compute target's own pip or uv is set to.
    """

    url: Url | None = None
    extra_urls: list[Url] = Field(default_factory=list)
    find_links: list[Url] = Field(default_factory=list)
    no_index: bool = False
    pre: bool = False
    no_binary: list[Selection] = Field(default_factory=list)
    only_binary: list[Selection] = Field(default_factory=list)
    trusted_hosts: list[Annotated[NonEmptyText, AfterValidator(check_host)]] = Field(
        default_factory=list
    )


class PythonSection(UrlHolder):
    """The Python that runs the script, and the packages it gets.

    With `user_managed_dependencies` nothing is installed and `interpreter_path` is used as it is.
    """

    user_managed_dependencies: bool = False
    interpreter_path: NonEmptyText = "python"
    version: PythonVersion | None = None
    packages: Packages = Field(default_factory=list)
    constraints: list[Constraint] = Field(default_factory=list)
    index: IndexSection = Field(default_factory=IndexSection)
    conda_packages: list[Annotated[NonEmptyText, AfterValidator(check_conda_package)]] = Field(
        default_factory=list
    )
    conda_channels: list[Annotated[NonEmptyText, AfterValidator(check_channel)]] = Field(
        default_factory=list
    )

    @property
    def conda_dependencies(self) -> CondaDependencies:
        """The packages by Azure ML's names; what is changed there is changed here."""
        from airflow_mltrain.config.conda_dependencies import CondaDependencies  # noqa: PLC0415

        return CondaDependencies(_underlying_structure=self)

    @conda_dependencies.setter
    def conda_dependencies(self, dependencies: CondaDependencies) -> None:
        from airflow_mltrain.config.conda_dependencies import CondaDependencies  # noqa: PLC0415

        if not isinstance(dependencies, CondaDependencies):
            raise ConfigurationError(
                f"PythonSection.conda_dependencies: {describe(dependencies)} was given; it should "
                "be a CondaDependencies"
            )
        dependencies.assign_to(self)
