"""Pages that are broken are read as far as they go, as in a browser."""

from html.parser import HTMLParser

import pytest

from fungible.check.http.pages import feed


class Seen(HTMLParser):
    """What a parser tells of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(f"<{tag}>")

    def handle_data(self, data: str) -> None:
        self.seen += data.split()


@pytest.mark.parametrize(
    ("page", "seen"),
    [
        ("<p>a</p> tail", ["<p>", "a", "tail"]),
        ("a < b", ["a", "<", "b"]),
        ("<p>a<b", ["<p>", "a<b"]),
        ("a<!-- <p> --><b>c<!-- <i>d", ["a", "<b>", "c"]),
        ("<![if IE]><p>a<![endif]>", ["<p>", "a"]),
        ("", []),
    ],
)
def test_each_tag_and_each_text_of_a_page_is_seen(page: str, seen: list[str]) -> None:
    parser = Seen()
    feed(parser, page)
    assert parser.seen == seen
