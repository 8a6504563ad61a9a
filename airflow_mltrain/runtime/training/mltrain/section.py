"""A part of a config as a script reads it."""

from typing import Any, Dict


class Section:
    """JSON data whose keys are attributes."""

    def __init__(self, content: Dict[str, Any]) -> None:
        self._content = content

    def __getattr__(self, name: str) -> Any:
        try:
            found = self._content[name]
        except KeyError:
            raise AttributeError(name) from None
        return Section(found) if isinstance(found, dict) else found

    def to_dict(self) -> Dict[str, Any]:
        """The same as plain data."""
        return self._content

    def __repr__(self) -> str:
        return "Section({!r})".format(self._content)
