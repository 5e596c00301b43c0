"""The steps: what undoes them, how long they may take, and the services that they ask."""

from __future__ import annotations

from collections.abc import Iterator

from antiphon.checking.finding import Finding, Spot, example, found
from antiphon.checking.system import System, commands_of, node_spot
from contracts.compatibility import Incompatible, Unknown
from orchestrator.flow import Flow
from orchestrator.nodes import Call, Command, Step, Wait
from orchestrator.plan import Place
from reactors.service import CommandHandler

__all__ = ["check_steps"]


def check_steps(system: System) -> Iterator[Finding]:
    """Every step of every flow."""
    for flow in system.app.flows:
        for place in flow.plan.places.values():
            node = place.node
            if not isinstance(node, Step):
                continue
            spot = node_spot(flow, node)
            declared = flow.result_type(node.name)
            if declared is not None and not system.app.registry.has(declared):
                yield found("no-contract", spot, f"its result {declared!r} has no contract")
            yield from _check_undoing(flow, place, node, spot)
            yield from _check_times(node, spot)
            for command in commands_of(node):
                yield from _check_command(system, flow, node, command, spot)


def _check_undoing(flow: Flow, place: Place, step: Step, spot: Spot) -> Iterator[Finding]:
    if step.compensate is not None or step.changes_nothing or step.pivot or place.pivoted:
        return
    later = next(
        (
            one.node.name
            for one in flow.plan.places.values()
            if one.position > place.position and isinstance(one.node, Step | Wait | Call)
        ),
        None,
    )
    if later is not None:
        yield found(
            "no-compensation",
            spot,
            f"nothing undoes it when {later!r} or a later one fails",
        )


def _check_times(step: Step, spot: Spot) -> Iterator[Finding]:
    deadline, retry = step.deadline, step.retry
    if deadline is None:
        return
    if step.timeout > deadline:
        yield found(
            "timeout-past-deadline",
            spot,
            f"an attempt may take {step.timeout:g} s, and the deadline of all is {deadline:g} s",
        )
    if retry is None or retry.attempts is None:
        return
    passed = 0.0
    for attempt in range(1, min(retry.attempts, 10_000)):
        passed += retry.delay(attempt, lambda: 0.0)  # the shortest that chance allows
        if passed >= deadline:
            yield found(
                "retries-past-deadline",
                spot,
                f"attempt {attempt + 1} of {retry.attempts} begins {passed:g} s after the first at the "
                f"earliest, and the deadline is {deadline:g} s",
            )
            return


def _check_command(system: System, flow: Flow, step: Step, command: Command, spot: Spot) -> Iterator[Finding]:
    if not system.app.registry.has(command.type):
        yield found("no-contract", spot, f"the command {command.type!r} has no contract")
    if step.at not in {service.name for service in system.app.services}:
        if command.type not in system.app.external:
            yield found("unknown-service", spot, f"there is no service {step.at!r}, to do {command.type}")
        return
    handler = system.handler(step.at, command.type)
    if handler is None:
        yield found("unhandled-command", spot, f"service {step.at!r} does not handle {command.type}")
        return
    if handler.timeout > step.timeout:
        yield found(
            "service-outlives-step",
            spot,
            f"{handler.declared_at} may take {handler.timeout:g} s for {command.type}, and the step gives up "
            f"after {step.timeout:g} s",
        )
    if command is step.command:
        yield from _check_reply(system, flow, step, handler, spot)


def _check_reply(
    system: System, flow: Flow, step: Step, handler: CommandHandler, spot: Spot
) -> Iterator[Finding]:
    wanted = flow.result_type(step.name)
    if wanted is None or wanted == handler.reply or not system.app.registry.has(wanted):
        return
    if handler.reply is None:
        message = f"it wants {wanted}, and the handler at {handler.declared_at} does not say what it answers"
        yield found("unchecked-reply", spot, message)
        return
    if not system.app.registry.has(handler.reply):
        return
    verdict = system.compare({"$ref": system.uri(handler.reply)}, system.app.registry.schema(wanted))
    match verdict:
        case Incompatible(instance, pointer, why):
            yield found(
                "reply-mismatch",
                spot,
                f"the service may answer what is off {wanted}, at {pointer or '/'}: {why}",
                counterexample=example(instance, pointer, why),
            )
        case Unknown(reason):
            yield found("unchecked-reply", spot, f"whether {handler.reply} fits {wanted}: {reason}")
