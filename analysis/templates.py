"""HTML from the templates under page/ (Jinja): every text is escaped, but what is Markup."""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

PAGE = Path(__file__).with_name("page")
SLOT = re.compile(r"\[[\w ]+\]")


def render(name: str, **values: Any) -> Markup:
    """page/NAME.html with the values. A value that it lacks is an error."""
    return Markup(open_templates().get_template(f"{name}.html").render(values))


@cache
def open_templates() -> Environment:
    known = Environment(
        loader=FileSystemLoader(PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    known.filters |= {"mark_slots": mark_slots, "quoted": quote}
    return known


def mark_slots(text: str) -> Markup:
    """
    >>> str(mark_slots("in [area] & <b>"))
    'in <mark>[area]</mark> &amp; &lt;b&gt;'
    """
    return Markup(SLOT.sub(lambda m: f"<mark>{m[0]}</mark>", str(escape(text))))


def read_style() -> Markup:
    return Markup((PAGE / "page.css").read_text("utf-8"))


def read_scripts(names: Sequence[str]) -> Markup:
    return Markup("\n".join((PAGE / f"{name}.js").read_text("utf-8") for name in names))


def read_plotly() -> Markup:
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())


def embed(content: str) -> Markup:
    """JSON within a <script>, which no text of it can end."""
    return Markup(content.replace("</", "<\\/"))


def to_json(data: Mapping[str, Any]) -> str:
    return json.dumps(data, separators=(",", ":"))
