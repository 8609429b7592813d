"""An HTML page as a test looks at it."""

from html.parser import HTMLParser

LOADING = ("src", "href", "srcset", "data", "poster", "action", "xlink:href")
NEVER_CLOSED = ("meta", "img", "col", "path", "rect", "line", "link", "br")


class Page(HTMLParser):
    """Addresses that a page loads or links to, its identifiers, its tags, and those that stay open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in LOADING]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in NEVER_CLOSED:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
