"""What the broker refuses by closing the channel, and which message it was about.

A refused publish takes with it every other publish that was under way there: those are to be sent again, the
refused one is not. The broker's text names the exchange and, where it checked one, the topic, or the size of
what was too large; that is all there is to tell them apart by.
"""

from __future__ import annotations

import re

from aiormq.exceptions import ChannelAccessRefused, ChannelPreconditionFailed

__all__ = ["is_refused", "is_too_large"]

# RabbitMQ 3.10: write access to exchange 'E' in vhost 'V' refused for user 'U'
#                write access to topic 'K' in exchange 'E' in vhost 'V' refused for user 'U'
_EXCHANGE = re.compile(r"\bexchange '(?P<name>[^']*)'")
_TOPIC = re.compile(r"\btopic '(?P<name>[^']*)'")
# RabbitMQ 3.10: message size 200000 is larger than configured max size 100000
_SIZE = re.compile(r"\bmessage size (?P<size>\d+) (is )?larger than\b")
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


def is_too_large(error: BaseException, size: int) -> bool:
    """Whether the channel was closed because of a message with a body of so many bytes."""
    said = _SIZE.search(str(error)) if isinstance(error, ChannelPreconditionFailed) else None
    return said is not None and int(said["size"]) == size
