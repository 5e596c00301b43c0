"""Reactors and services: what answers events and commands, each with a queue of its own.

The way of a message: ``consumer`` receives it; a ``desk`` admits it (``intake``), claims it (``inbox``),
has it attempted (``reacting`` for reactors, ``answering`` for services) and settles it; what is unfit goes
to ``quarantine``, what failed for good to ``dead_letters``. ``runtime`` runs all of it; ``reactor`` and
``service`` hold what users declare.
"""
