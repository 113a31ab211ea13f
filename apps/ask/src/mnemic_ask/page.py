"""One page of answers with their sources, which needs no other file."""

import base64
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from io import BytesIO
from string import Template

from PIL.Image import Image
from PIL.ImageOps import pad

from mnemic_core.errors import UserError
from mnemic_retrieval.data.pictures import read_source_picture
from mnemic_retrieval.murag import Answer, Citation, Question

_SIDE = 224  # pixels of a picture on the page


def make_page(title: str, answers: Sequence[tuple[Question, Answer]]) -> str:
    """Return the page.

    Args:
        title: heading.
        answers: questions with their answers.
    """
    template = Template(files("mnemic_ask").joinpath("page.html").read_text("utf-8"))
    sections = "\n".join(_section(question, answer) for question, answer in answers)
    return template.substitute(title=escape(title), sections=sections)


def _section(question: Question, answer: Answer) -> str:
    picture = "" if question.image is None else f'<img src="{_address(question.image)}" alt="picture of the question">'
    said = escape(answer.text) or ("no answer: the memory has nothing close" if not answer.is_sure else "(empty)")
    style = "answer" if answer.text else "answer none"
    cited = set(answer.cited)
    sources = "".join(_source(citation, is_cited=citation.item.id in cited) for citation in answer.citations)
    return (
        f'<section><div class="asked">{picture}<div><p class="question">{escape(question.text)}</p>'
        f'<p class="{style}">{said}</p></div></div><ol>{sources}</ol></section>'
    )


def _source(citation: Citation, *, is_cited: bool) -> str:
    item = citation.item
    style = ' class="cited"' if is_cited else ""
    return (
        f"<li{style}>{_picture(citation, has_region=is_cited)}{escape(item.text)}"
        f'<div class="id">{escape(item.id)}, score {citation.score:.2f}</div>'
        f'<div class="share"><span style="width:{citation.share:.0%}"></span></div></li>'
    )


def _picture(citation: Citation, *, has_region: bool) -> str:
    """Return the picture of an item, with the part that was looked at where the answer rests on it."""
    if citation.item.image is None:
        return ""
    try:
        picture = read_source_picture(citation.item.image)
    except (UserError, OSError):
        return '<div class="id">(its picture is gone)</div>'
    region = ""
    if citation.region is not None and has_region:
        left, top, right, bottom = citation.region
        region = (
            f'<div class="region" style="left:{left:.1%};top:{top:.1%};width:{right - left:.1%};'
            f'height:{bottom - top:.1%}"></div>'
        )
    return f'<div class="picture"><img src="{_address(picture)}" alt="{escape(citation.item.text)}">{region}</div>'


def _address(picture: Image) -> str:
    """Return a picture as the network sees it, as a data address."""
    content = BytesIO()
    pad(picture, (_SIDE, _SIDE), color=(255, 255, 255)).save(content, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
