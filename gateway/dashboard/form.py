"""A form as a browser sent it, before anything looks at it: text that every database takes, or a refusal."""

from __future__ import annotations

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request

__all__ = ["read_form"]


async def read_form(request: Request) -> FormData:
    """The form, read once: ``request.form()`` gives the same again.

    Raises HTTPException (400) when it is none, or holds what is no text: a NUL, which PostgreSQL refuses, or
    half a surrogate pair, which can't be stored or sent; a multipart form may name any codec of Python.
    """
    try:
        form = await request.form()
    except UnicodeError as error:
        raise HTTPException(400, f"The form can't be read: {error}") from error
    parts = [part for item in form.multi_items() for part in item if isinstance(part, str)]
    if not all(map(_is_text, parts)):
        raise HTTPException(400, "The form holds a NUL, or what is no Unicode text; take it out.")
    return form


def _is_text(part: str) -> bool:
    return "\0" not in part and not any("\ud800" <= char <= "\udfff" for char in part)
