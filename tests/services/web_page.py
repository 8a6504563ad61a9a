"""A web page as a browser takes it in: its elements, its links, its text."""

from __future__ import annotations

from html.parser import HTMLParser


class WebPage(HTMLParser):
    """Reads a page once; afterwards its parts can be looked at."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []  # with the names of their attributes
        self.attributes: list[tuple[str, str, str]] = []  # element, name, value
        self._texts: list[str] = []
        self.feed(html)
        self.close()

    @property
    def text(self) -> str:
        """All that the page says."""
        return "".join(self._texts)

    @property
    def links(self) -> list[str]:
        """Where the page leads."""
        return [value for tag, name, value in self.attributes if (tag, name) == ("a", "href")]

    def values(self, element: str, attribute: str) -> list[str]:
        """The values of one attribute of all elements of one kind."""
        found = self.attributes
        return [value for tag, name, value in found if (tag, name) == (element, attribute)]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self._texts.append(data)
