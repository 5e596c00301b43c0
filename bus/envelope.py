"""From a CloudEvent to a message and back."""

from __future__ import annotations

from bus.port import EVENTS, Message, Outgoing
from contracts.envelope import Event

__all__ = ["event_of", "message_of", "publication"]


def message_of(event: Event) -> Message:
    """The event in binary mode; the message's id is the event's."""
    return Message(id=event.id, body=event.body, content_type=event.datacontenttype, headers=event.headers())


def event_of(message: Message) -> Event:
    """What the message says. Raises MalformedMessage."""
    return Event.read(message.headers, message.body, message.content_type, message.attributes)


def publication(event: Event) -> Outgoing:
    """The event on its way to whoever reacts to its type.

    Choreography does not know its audience, so an event may reach nobody. It is mandatory all the
    same: the publisher then gets Unroutable, and can record that nobody listens instead of
    believing that somebody did.
    """
    return Outgoing(message_of(event), routing_key=event.type, exchange=EVENTS)
