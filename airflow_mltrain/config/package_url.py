"""URLs of packages and package indexes, and the credentials that people write into them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from pydantic import PrivateAttr, SerializerFunctionWrapHandler, model_serializer, model_validator

from airflow_mltrain.config.model import ConfigModel
from airflow_mltrain.config.text import is_template
from airflow_mltrain.errors import ConfigurationError

if TYPE_CHECKING:
    from typing_extensions import Self

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# Of a longer scheme the end counts: without a bound, a long word takes the square of its length.
_USER_PART = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,63}://)(?P<user>[^\s/?#]*)@(?P<rest>\S*)"
)
_URL = re.compile(r"(?<![A-Za-z0-9+.-])[A-Za-z0-9+.-]+://\S*")
_NO_SECRET = "x-oauth-basic"  # noqa: S105 - the password beside a token, in URLs for GitHub
_NOT_IN_A_NETRC_FILE = re.compile(r"[\s\"'\\#\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Credentials:
    """What a URL's user part says; printing it shows nothing."""

    login: str = field(repr=False)
    password: str = field(repr=False)

    @classmethod
    def read(cls, user_part: str, variables: Mapping[str, str]) -> Credentials:
        """Decode `user:password`, with each `${NAME}` looked up.

        Raises LookupError with the name of a variable that is missing, and ValueError where the
        result cannot be sent to a compute target.
        """

        def look_up(match: re.Match[str]) -> str:
            if match[1] not in variables:
                raise LookupError(match[1])
            return variables[match[1]]

        parts = [
            look_up(match) if (match := _REFERENCE.fullmatch(part)) else unquote(part)
            for part in user_part.partition(":")[::2]
        ]
        if not parts[0]:
            raise ValueError(
                "it has no user name, which a netrc file cannot do without; write a token alone, "
                "as in 'https://token@...', or give the user name that goes with it"
            )
        if any(_NOT_IN_A_NETRC_FILE.search(part) for part in parts):
            raise ValueError(
                "its user name or password has a space, quote, backslash or '#', which a netrc "
                "file cannot hold"
            )
        return cls(*parts)


def check_url(url: str) -> str:
    """Give `url` back; raises ValueError unless it is one that pip takes, of http or https.

    A `${NAME}` may stand for the whole user name or password, and nowhere else. No
    literal password may follow one, for it alone would be taken out of what is stored.
    """
    if is_template(url):
        return url
    if not url.isprintable() or " " in url:
        raise ValueError("it should be a URL without spaces and control characters")
    match = _USER_PART.match(url)
    rest = f"{match['scheme']}{match['rest']}" if match else url
    if match and any("$" in part for part in _literal_parts(match["user"])):
        raise ValueError(
            "it should have '${NAME}' as its whole user name or password; write another '$' as %24"
        )
    if match:
        _check_not_mixed(match["user"])
    if "${" in rest:
        raise ValueError("it should have '${NAME}' only in place of user name and password")
    if not _is_web_url(rest):
        raise ValueError("it should be a URL, beginning with https:// or http://, with a host")
    if "@" in rest:
        raise ValueError("it should have '@', '/', '?' and '#' in a password percent-encoded")
    return url


def remove_user_part(text: str) -> str:
    """The URL, or text with a URL in it, without user name and password; ssh keeps its user."""
    match = _USER_PART.search(text)
    if match is None or (match["scheme"].endswith("ssh://") and ":" not in match["user"]):
        return text
    return f"{text[: match.end('scheme')]}{text[match.start('rest') :]}"


def find_host(url: str) -> str:
    """The host of a URL as a netrc file names it: lower case, without port."""
    return urlsplit(url).hostname or ""


class UrlHolder(ConfigModel):
    """A section with URLs, which keeps the credentials written in them apart, in memory only.

    They are in no dump, no `repr`, no JSON and no message; copies keep them. What was put into a
    list in place is taken out when the section is printed or dumped. Sections that differ in
    nothing else are equal.
    """

    _user_parts: dict[str, tuple[str, ...]] = PrivateAttr(default_factory=dict)

    __hash__ = None  # type: ignore[assignment] # as every model that can be changed

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, UrlHolder):
            return NotImplemented
        for section in (self, other):
            section._take_credentials_out()
        return type(self) is type(other) and vars(self) == vars(other)

    if not TYPE_CHECKING:  # as in the base

        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if name in type(self).model_fields and isinstance(value, str):
                self._forget_replaced(name, value)

    @model_validator(mode="after")
    def _keep_credentials_apart(self) -> Self:
        self._take_credentials_out()
        return self

    @model_serializer(mode="wrap")
    def _dump_without_credentials(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        self._take_credentials_out()
        dumped: dict[str, Any] = dump(self)
        return dumped

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        self._take_credentials_out()
        yield from super().__repr_args__()

    def list_user_parts(self) -> list[tuple[str, str]]:
        """Each URL that has a user part, without it, and that part, as it was written."""
        self._take_credentials_out()
        found: list[tuple[str, str]] = []
        for text in self._list_texts():
            if is_template(text):
                continue
            match = _USER_PART.search(text)
            if match and not match["scheme"].endswith("ssh://"):
                found.append((f"{match['scheme']}{match['rest']}", match["user"]))
            for url in _URL.findall(text):
                found += [(url, user_part) for user_part in self._user_parts.get(url, ())]
        return found

    def take_credentials_over(self, other: UrlHolder) -> None:
        """Have the credentials that `other` keeps for its URLs; raises ConfigurationError."""
        other._take_credentials_out()
        for url, user_parts in other._user_parts.items():
            for user_part in user_parts:
                try:
                    _check_not_mixed(user_part)
                except ValueError as error:
                    raise ConfigurationError(f"{url}: {error}") from None
            self._user_parts[url] = user_parts

    def _forget_replaced(self, name: str, text: str) -> None:
        """Forget what was kept for a URL that `text` now says without, and no other field has."""
        if _USER_PART.search(text):
            return
        others = [
            url
            for key, value in vars(self).items()
            if key != name
            for other in _texts_in(value)
            for url in _URL.findall(other)
        ]
        for url in _URL.findall(text):
            if url not in others:
                self._user_parts.pop(url, None)

    def _take_credentials_out(self) -> None:
        taken: dict[str, list[str]] = {}
        for name, value in vars(self).items():
            if isinstance(value, str):
                vars(self)[name] = _take_out(value, taken)
            elif isinstance(value, list):
                value[:] = [_take_out(item, taken) for item in value]
        for url, user_parts in taken.items():
            self._user_parts[url] = tuple(dict.fromkeys(user_parts))
        if self._user_parts:
            present = {url for text in self._list_texts() for url in _URL.findall(text)}
            for url in self._user_parts.keys() - present:
                del self._user_parts[url]

    def _list_texts(self) -> Iterator[str]:
        for value in vars(self).values():
            yield from _texts_in(value)


def _texts_in(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str)]


def _take_out(text: Any, taken: dict[str, list[str]]) -> Any:
    if not isinstance(text, str) or is_template(text):
        return text
    match = _USER_PART.search(text)
    if match is None or _may_be_seen(match):
        return text
    taken.setdefault(f"{match['scheme']}{match['rest']}", []).append(match["user"])
    return remove_user_part(text)


def _may_be_seen(match: re.Match[str]) -> bool:
    login, colon, password = match["user"].partition(":")
    if match["scheme"].endswith("ssh://"):
        return not colon
    return bool(_REFERENCE.fullmatch(login if password == _NO_SECRET else password or login))


def _check_not_mixed(user_part: str) -> None:
    login, _, password = user_part.partition(":")
    is_literal = password not in ("", _NO_SECRET) and not _REFERENCE.fullmatch(password)
    if is_literal and _REFERENCE.fullmatch(login):
        raise ValueError(
            "it should have '${NAME}' as its password too, for a literal one is kept nowhere, and "
            "the user name would be lost with it; a literal user name before '${NAME}' is fine"
        )


def _literal_parts(user_part: str) -> list[str]:
    return [part for part in user_part.partition(":")[::2] if not _REFERENCE.fullmatch(part)]


def _is_web_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that is not closed
        return False
