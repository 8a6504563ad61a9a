"""Secrets in what others will see before it becomes a model: template fields of a task."""

from __future__ import annotations

import re
from collections.abc import Mapping

from airflow_mltrain.errors import ConfigurationError

_WEB_USER = re.compile(r"https?://(?P<user>[^/@]+)@")
_SEEN_BY_ALL = re.compile(r"\$\{\w+\}|x-oauth-basic|.*\{\{.*", re.DOTALL)


def require_no_credentials(given: object) -> None:
    """Raise ConfigurationError, which does not show it, where a web URL holds a literal secret.

    A reference to an environment variable, such as `https://me:${TOKEN}@host/`, is none.
    """
    if isinstance(given, Mapping):
        for value in given.values():
            require_no_credentials(value)
    elif isinstance(given, (list, tuple)):
        for value in given:
            require_no_credentials(value)
    elif isinstance(given, str):
        for match in _WEB_USER.finditer(given):
            login, _, password = match["user"].partition(":")
            if not _SEEN_BY_ALL.fullmatch(password or login):
                raise ConfigurationError(
                    "a URL in this mapping holds credentials, which everybody would see who may "
                    "see the Dag; write https://user:${NAME}@..., with the name of an environment "
                    "variable of the worker, or give an Environment in place of a mapping"
                )
