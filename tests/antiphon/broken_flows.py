"""Apps with something wrong about services and flows: one finding each."""

from __future__ import annotations

from broken_apps import DONE_EMIT, PAID, PAYING, PIVOT, TAKE, Broken, app, asking, flow, service

FLOWS: dict[str, list[Broken]] = {
    "unknown-service": [Broken(app(asking() + ",  # here", DONE_EMIT), contracts=TAKE)],
    "unhandled-command": [
        Broken(
            app(asking() + ",  # here", DONE_EMIT, before='pay = Service("pay")', more=PAYING), contracts=TAKE
        )
    ],
    "unasked-command": [
        Broken(
            app(DONE_EMIT, before=service().replace('v1")', 'v1")  # here'), more=PAYING),
            contracts=TAKE,
        )
    ],
    "reply-mismatch": [
        Broken(
            app(
                asking(result='"a.done.v1"') + ",  # here",
                DONE_EMIT,
                before=service(', reply="pay.took.v1"'),
                more=PAYING,
            ),
            contracts={**TAKE, **PAID},
            proven=True,
        )
    ],
    "unchecked-reply": [
        Broken(
            app(asking(result='"a.done.v1"') + ",  # here", DONE_EMIT, before=service(), more=PAYING),
            contracts=TAKE,
        )
    ],
    "service-outlives-step": [
        Broken(
            app(asking(timeout="5") + ",  # here", DONE_EMIT, before=service(", timeout=10"), more=PAYING),
            contracts=TAKE,
        )
    ],
    "no-compensation": [Broken(app("step(work),  # here", 'step(work, name="more")', DONE_EMIT))],
    "no-pivot": [Broken(app(DONE_EMIT + ",  # here", "step(work)"))],
    "timeout-past-deadline": [Broken(app('step(work, timeout="1m", deadline="30s"),  # here', DONE_EMIT))],
    "retries-past-deadline": [
        Broken(
            app(
                'step(work, timeout="5s", deadline="20s", retry=Retry(attempts=9, first=1.0)),  # here',
                DONE_EMIT,
            )
        )
    ],
    "no-timeout": [Broken(app('wait(signal="go"),  # here', DONE_EMIT))],
    "unreachable": [
        Broken(
            app(
                'when({"properties": {"input": {"properties": {"n": False}}}}, [step(work)]),  # here',
                DONE_EMIT,
            )
        ),
        Broken(
            app(
                'when({"required": ["input"]}, [sleep("1s")], [sleep("2s")]),  # here',
                DONE_EMIT,
            )
        ),
    ],
    "unknown-flow": [Broken(app('call("b", {"id": "$.input.id"}),  # here', DONE_EMIT))],
    "call-cycle": [Broken(app('call("a", {"id": "$.input.id", "n": 1}),  # here', DONE_EMIT))],
    "two-versions": [
        Broken(
            app(DONE_EMIT)
            .replace("flows=[one]", "flows=[one, two]")
            .replace(
                "\napp =",
                "\ntwo = Flow(  # here\n"
                + flow(PIVOT, DONE_EMIT).replace("version=1", "version=2")[5:]
                + "\napp =",
            )
        )
    ],
    "same-version": [
        Broken(
            app(DONE_EMIT)
            .replace("flows=[one]", "flows=[one, two]")
            .replace(
                "\napp =",
                "\ntwo = Flow(  # here\n" + flow(DONE_EMIT).replace("version=1", "version=2")[5:] + "\napp =",
            )
        )
    ],
}
