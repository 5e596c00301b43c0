"""The bus on RabbitMQ. The only place that imports aio-pika, aiormq and pamqp."""

from bus.rabbit.bus import RabbitBus
from bus.rabbit.names import delay_prefix, direct_name
from bus.rabbit.reading import read_anything
from bus.rabbit.topology import dead_arguments, queue_arguments

__all__ = ["RabbitBus", "dead_arguments", "delay_prefix", "direct_name", "queue_arguments"]

read_anything()
