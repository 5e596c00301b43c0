"""What the broker refuses to a user, and which message it was about.

A refused publish closes the channel, and takes with it every other publish that was under way there: those
are to be sent again, the refused one is not. The broker's text names the exchange and, where it checked one,
the topic; that is all there is to tell them apart by.
"""

from __future__ import annotations

import re

from aiormq.exceptions import ChannelAccessRefused, ChannelPreconditionFailed

__all__ = ["is_refused"]

# RabbitMQ 3.10: write access to exchange 'E' in vhost 'V' refused for user 'U'
#                write access to topic 'K' in exchange 'E' in vhost 'V' refused for user 'U'
_EXCHANGE = re.compile(r"\bexchange '(?P<name>[^']*)'")
_TOPIC = re.compile(r"\btopic '(?P<name>[^']*)'")
_DEFAULT = "amq.default"  # what the broker calls its default exchange where it speaks of permissions


def is_refused(error: BaseException, exchange: str, routing_key: str) -> bool:
    """Whether the channel was closed because of a message that went this way."""
    text = str(error)
    if isinstance(error, ChannelPreconditionFailed):
        return "user_id" in text  # all of a process say the same user
    if not isinstance(error, ChannelAccessRefused):
        return False
    named, topic = _EXCHANGE.search(text), _TOPIC.search(text)
    if named is not None and named["name"] != (exchange or _DEFAULT):
        return False
    return topic is None or topic["name"] == routing_key
