"""No sockets: for clients that block their thread, and ask no event loop for one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["no_sockets"]

_WAYS_OUT = ("connect", "connect_ex", "sendto")


@contextmanager
def no_sockets(refuse: Callable[[], Any]) -> Iterator[None]:
    """``refuse`` is called, and is to raise, when this thread reaches out by one of Python's sockets."""
    here, kind = threading.get_ident(), socket.socket
    before = {way: vars(kind).get(way) for way in _WAYS_OUT}

    def guarded(real: Callable[..., Any]) -> Callable[..., Any]:
        def reach(*given: Any) -> Any:
            if threading.get_ident() == here:
                refuse()
            return real(*given)

        return reach

    for way in _WAYS_OUT:
        setattr(kind, way, guarded(getattr(kind, way)))
    try:
        yield
    finally:
        for way, own in before.items():
            if own is None:
                delattr(kind, way)
            else:
                setattr(kind, way, own)
