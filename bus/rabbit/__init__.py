"""The bus on RabbitMQ. The only place that imports aio-pika, aiormq and pamqp."""

from bus.rabbit.bus import RabbitBus

__all__ = ["RabbitBus"]
