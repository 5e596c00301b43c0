"""Antiphon: durable orchestration and choreographed reactors as one system.

What a user writes is an ``App``: flows, reactors, services and the contracts between them. What a user
runs is the command ``antiphon``.
"""

from __future__ import annotations

from antiphon.app import App
from antiphon.settings import Settings
from contracts.envelope import Event
from contracts.errors import AntiphonError, ConfigurationError, Retryable, Terminal
from contracts.retry import Retry
from contracts.upcasting import Upcasters
from orchestrator.context import StepContext
from orchestrator.flow import Flow
from orchestrator.nodes import Command, call, emit, parallel, sleep, step, wait, when
from reactors.context import ReactionContext
from reactors.reactor import reacts_to
from reactors.service import CommandContext, Service

__all__ = [
    "AntiphonError",
    "App",
    "Command",
    "CommandContext",
    "ConfigurationError",
    "Event",
    "Flow",
    "ReactionContext",
    "Retry",
    "Retryable",
    "Service",
    "Settings",
    "StepContext",
    "Terminal",
    "Upcasters",
    "call",
    "emit",
    "parallel",
    "reacts_to",
    "sleep",
    "step",
    "wait",
    "when",
]
