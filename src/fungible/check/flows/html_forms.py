"""What a page offers a visitor: forms with their fields, links, meta tags, each with the tag as it was written."""

from contextlib import suppress
from dataclasses import dataclass
from html.parser import HTMLParser

from fungible.check.http.pages import feed

MAX_CHARACTERS = 2_000_000


@dataclass(frozen=True)
class Field:
    """One control of a form. `raw` is its start tag as written; `kind` an input's type, or `select`, `textarea`."""

    name: str
    kind: str
    value: str
    raw: str
    options: tuple[str, ...] = ()
    checked: bool = False
    attributes: tuple[tuple[str, str], ...] = ()

    def attribute(self, name: str) -> str | None:
        """An attribute's value; empty where it has none."""
        return dict(self.attributes).get(name)


@dataclass(frozen=True)
class Form:
    """A form; `words` is the text inside it, `buttons` the text on its buttons."""

    action: str
    method: str
    enctype: str
    fields: tuple[Field, ...]
    words: str
    raw: str
    buttons: str = ""


@dataclass(frozen=True)
class Link:
    """A reference to another address: `attribute` is `href`, `src` or `action`."""

    target: str
    attribute: str
    tag: str
    words: str
    raw: str


@dataclass(frozen=True)
class Meta:
    """A meta tag with content."""

    name: str
    content: str
    raw: str


@dataclass(frozen=True)
class Page:
    """Everything of interest on one page, in the order it was written."""

    forms: tuple[Form, ...]
    loose: tuple[Field, ...]
    links: tuple[Link, ...]
    metas: tuple[Meta, ...]

    @property
    def fields(self) -> tuple[tuple[Form | None, Field], ...]:
        """Every field with the form it stands in."""
        inside: list[tuple[Form | None, Field]] = [(form, one) for form in self.forms for one in form.fields]
        return (*inside, *((None, one) for one in self.loose))


class _OpenForm:
    def __init__(self, attributes: dict[str, str], raw: str) -> None:
        self.attributes = attributes
        self.raw = raw
        self.fields: list[Field] = []
        self.words: list[str] = []
        self.buttons: list[str] = []
        self.in_button = False

    def closed(self) -> Form:
        return Form(
            action=self.attributes.get("action", ""),
            method=(self.attributes.get("method") or "get").upper(),
            enctype=self.attributes.get("enctype", "").lower() or "application/x-www-form-urlencoded",
            fields=tuple(self.fields),
            words=" ".join(self.words),
            raw=self.raw,
            buttons=" ".join(self.buttons),
        )


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[Form] = []
        self.loose: list[Field] = []
        self.links: list[Link] = []
        self.metas: list[Meta] = []
        self._form: _OpenForm | None = None
        self._field: Field | None = None
        self._options: list[str] = []
        self._chosen: str | None = None
        self._text: list[str] = []
        self._link: Link | None = None
        self._link_text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # The first of two attributes with one name counts (HTML, section 13.2.5.33).
        attributes = {name: value or "" for name, value in reversed(attrs)}
        raw = self.get_starttag_text() or ""
        if tag == "form":
            self._close_form()
            self._form = _OpenForm(attributes, raw)
        elif tag in {"input", "button"}:
            self._input(tag, attributes, raw)
        elif tag in {"select", "textarea"}:
            self._close_field()
            self._field = Field(attributes.get("name", ""), tag, "", raw, attributes=tuple(attributes.items()))
        elif tag == "option" and self._field is not None:
            value = attributes.get("value", "")
            self._options.append(value)
            if "selected" in attributes:
                self._chosen = value
        elif tag == "meta" and "content" in attributes:
            name = attributes.get("name") or attributes.get("property") or attributes.get("http-equiv") or ""
            self.metas.append(Meta(name, attributes["content"], raw))
        for name in ("href", "src", "action"):
            if attributes.get(name) and tag != "base":
                self._open_link(Link(attributes[name], name, tag, "", raw))

    def _input(self, tag: str, attributes: dict[str, str], raw: str) -> None:
        kind = attributes.get("type", "submit" if tag == "button" else "text").lower()
        self._add(
            Field(
                attributes.get("name", ""),
                kind,
                attributes.get("value", "on" if kind in {"checkbox", "radio"} else ""),
                raw,
                checked="checked" in attributes,
                attributes=tuple(attributes.items()),
            )
        )
        if self._form is not None and kind in {"submit", "image", "button"}:
            self._form.buttons.append(attributes.get("value") or attributes.get("alt") or attributes.get("title") or "")
            self._form.in_button = tag == "button"

    def _add(self, field: Field) -> None:
        (self.loose if self._form is None else self._form.fields).append(field)

    def _open_link(self, link: Link) -> None:
        self._close_link()
        self._link = link
        if link.tag != "a":
            self._close_link()

    def _close_link(self) -> None:
        if self._link is not None:
            link = self._link
            words = " ".join(" ".join(self._link_text).split())[:200]
            self.links.append(Link(link.target, link.attribute, link.tag, words, link.raw))
        self._link, self._link_text = None, []

    def _close_field(self) -> None:
        if self._field is None:
            return
        field = self._field
        if field.kind == "select":
            value = self._chosen if self._chosen is not None else next(iter(self._options), "")
        else:
            value = "".join(self._text).removeprefix("\n")
        self._add(Field(field.name, field.kind, value, field.raw, tuple(self._options), attributes=field.attributes))
        self._field, self._options, self._chosen, self._text = None, [], None, []

    def _close_form(self) -> None:
        self._close_field()
        if self._form is not None:
            self.forms.append(self._form.closed())
        self._form = None

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._close_form()
        elif tag in {"select", "textarea"}:
            self._close_field()
        elif tag == "a":
            self._close_link()
        elif tag == "button" and self._form is not None:
            self._form.in_button = False

    def handle_data(self, data: str) -> None:
        if self._field is not None and self._field.kind == "textarea":
            self._text.append(data)
        if self._link is not None:
            self._link_text.append(data)
        if self._form is not None and data.strip():
            (self._form.buttons if self._form.in_button else self._form.words).append(data.strip())

    def finished(self) -> Page:
        self._close_link()
        self._close_form()
        return Page(tuple(self.forms), tuple(self.loose), tuple(self.links), tuple(self.metas))


def read_page(text: str) -> Page:
    """The forms, links and meta tags of a page. Never raises: what a broken page had up to there counts."""
    reader = _Reader()
    # html.parser gives up on some malformed declarations
    with suppress(AssertionError, ValueError):
        feed(reader, text[:MAX_CHARACTERS])
    return reader.finished()
