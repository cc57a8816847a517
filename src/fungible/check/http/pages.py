"""A page through Python's HTML parser, in work that grows with the page's length alone."""

from html.parser import HTMLParser
from typing import Final

COMMENT, COMMENT_END, MARKED, DECLARED = "<!--", "-->", "<![", "<? "
END: Final = ">"


def feed(parser: HTMLParser, text: str) -> None:
    """Feeds a whole page to a parser, and closes it.

    The parser looks for the end of each tag, comment and marked section that begins; where there is none it takes the first
    character for text and begins anew, which would take hours for a page of 2 MB that an attacker has made.
    """
    # Where nothing ends a comment it goes to the end of the page, as in a browser.
    opened = text.find(COMMENT, text.rfind(COMMENT_END) + 1)
    whole = text if opened < 0 else text[:opened]
    # To a browser a marked section is a comment that ends with the next ">".
    whole = whole.replace(MARKED, DECLARED)
    tags = whole.rfind(END) + 1
    parser.feed(whole[:tags])
    parser.close()
    if whole[tags:].strip():
        parser.handle_data(whole[tags:])
