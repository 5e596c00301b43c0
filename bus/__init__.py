"""Carries messages: the port, and its adapters for RabbitMQ and for one embedded file."""
