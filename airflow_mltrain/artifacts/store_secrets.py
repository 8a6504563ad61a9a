"""What a store is reached with and nobody may read, kept out of what is told of errors."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus

_SECRET_OPTIONS: Final = (
    *("secret", "token", "password", "passphrase", "credential"),
    *("account_key", "private_key", "sas", "connection_string"),
)
_LEAST_SECRET: Final = 4  # what is shorter would hide half of a sentence
_PASSWORD_IN_URL: Final = re.compile(r"(?<=://)[^/@\s]*:[^/@\s]*(?=@)")
_HIDDEN: Final = "****"


class StoreSecrets:
    """Those of one store, as far as they are known by now."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def add(self, secrets: Iterable[str | None]) -> None:
        """Hide these from now on, and how they look in a URL."""
        for secret in secrets:
            if secret and len(secret) >= _LEAST_SECRET:
                self._known |= {secret, quote(secret, safe=""), quote_plus(secret)}

    def add_options(self, options: Mapping[str, Any]) -> None:
        """Hide what the names of options say is secret, however deep it lies."""
        for name, value in options.items():
            if any(word in str(name).lower() for word in _SECRET_OPTIONS):
                self.add(_texts(value))
            elif isinstance(value, Mapping):
                self.add_options(value)

    def hide(self, words: str) -> str:
        """The words without what may not be shown."""
        for secret in sorted(self._known, key=len, reverse=True):
            words = words.replace(secret, _HIDDEN)
        return _PASSWORD_IN_URL.sub(_HIDDEN, words)

    def are_told_by(self, error: BaseException) -> bool:
        """Whether the error, or what it came of, shows one of them."""
        words = "".join(traceback.format_exception(error)) + repr(error)
        return self.hide(words) != words


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for one in value.values() for text in _texts(one)]
    return []
