"""Apps with something wrong about contracts, data, events and who reads them: one finding each."""

from __future__ import annotations

from broken_apps import DONE, DONE_EMIT, PAYING, PIVOT, TAKE, Broken, app, asking, flow, record, service

MESSAGES: dict[str, list[Broken]] = {
    "no-contract": [
        Broken(
            app(
                PIVOT,
                'emit("a.odd.v1", {"id": "$.input.id"}),  # here',
                DONE_EMIT,
                more=', external=["a.odd.v1"]',
            )
        ),
        Broken(
            app('wait("a.odd.v1", by="id", timeout="1h"),  # here', DONE_EMIT, more=', external=["a.odd.v1"]')
        ),
        Broken(app('step(work, result="a.odd.v1"),  # here', DONE_EMIT)),
        Broken(
            app(
                DONE_EMIT,
                before='@reacts_to("a.done.v1", "a.odd.v1")\nasync def other(event: dict): ...',
                reactors="listen, other",
                more=', external=["a.odd.v1"]',
            ).replace("@reacts_to(", "@reacts_to(  # here\n    ")
        ),
    ],
    "contract-broken": [
        Broken(
            app('emit("a.done.v1", {"id": "$.input.id", "more": "x"})'),
            contracts={"a.done.v1": record(id="string", more="string")},
            released={"a.done.v1": DONE},
            blamed="a/done.v1.json",
        )
    ],
    "contract-removed": [
        Broken(
            app(DONE_EMIT),
            released={"a.gone.v1": record(id="string")},
            blamed="contracts.lock",
        )
    ],
    "contract-unreleased": [
        Broken(
            app(DONE_EMIT),
            contracts={"a.done.v1": record(_optional=("note",), id="string", note="string")},
            released={"a.done.v1": DONE},
            blamed="a/done.v1.json",
        )
    ],
    "unused-contract": [
        Broken(app(DONE_EMIT), contracts={"a.spare.v1": record(id="string")}, blamed="a/spare.v1.json")
    ],
    "data-mismatch": [
        Broken(app('emit("a.done.v1", {"id": "$.input.n"}),  # here'), proven=True),
        Broken(app('emit("a.done.v1", {"id": "$.input.id", "extra": 1}),  # here'), proven=True),
        Broken(app('emit("a.done.v1", {}),  # here'), proven=True),
        Broken(
            app('emit("a.done.v1", {"id": "$.input.id"}),  # here'),
            contracts={"a.done.v1": record(id={"type": "string", "maxLength": 3, "default": "a"})},
            proven=True,
        ),
        Broken(
            app(
                "step(work, result=Fare, pivot=True)",
                'emit("a.done.v1", {"id": "$.work.cents"}),  # here',
                before="class Fare(BaseModel):\n    cents: int\n",
            ),
            proven=True,
        ),
        Broken(
            app(
                asking().replace("$.input.id", "$.input.n") + ",  # here",
                DONE_EMIT,
                before=service(),
                more=PAYING,
            ),
            contracts=TAKE,
            proven=True,
        ),
        Broken(
            "two = "
            + flow(DONE_EMIT, name="b", input='"b.asked.v1"')
            + "\n"
            + app('call("b", {"id": "$.input.n"}),  # here').replace("flows=[one]", "flows=[one, two]"),
            contracts={"b.asked.v1": record(id="string")},
            proven=True,
        ),
    ],
    "missing-data": [
        Broken(app('emit("a.done.v1", {"id": "$.input.nothing"}),  # here')),
        Broken(
            app('emit("a.done.v1", {"id": "$.input.id"}),  # here', key="n"),
            contracts={"a.asked.v1": record(_optional=("id",), id="string", n="integer")},
            proven=True,
        ),
        Broken(
            app(
                "step(work, result=Maybe, pivot=True)",
                'emit("a.done.v1", {"id": "$.work.who.id"}),  # here',
                before="class Who(BaseModel):\n    id: str\n\nclass Maybe(BaseModel):\n    who: Who | None\n",
            ),
            proven=True,
        ),
    ],
    "may-not-have-run": [
        Broken(
            app(
                'when(lambda run: True, [step(work, result="a.done.v1", compensate=undo)])',
                'emit("a.done.v1", {"id": "$.work.id"}),  # here',
            )
        ),
        Broken(
            app(
                'step(work, result="a.done.v1", pivot=True)',
                on_failure='[emit("a.done.v1", {"id": "$.work.id"})]  # here',
            )
        ),
    ],
    "unchecked-data": [
        Broken(app(PIVOT, 'emit("a.done.v1", {"id": "$.work.id"}),  # here')),
        Broken(app('wait(signal="go", timeout="1h")', 'emit("a.done.v1", {"id": "$.go.id"}),  # here')),
    ],
    "key-unfit": [
        Broken(
            app('emit("a.done.v1", {"id": "x"})', input='"a.asked.v1"', key="n").replace(
                "one = Flow(", "one = Flow(  # here\n"
            ),
            contracts={"a.asked.v1": record(_optional=("n",), id="string", n="integer")},
            proven=True,
        ),
    ],
    "wait-key-unfit": [
        Broken(
            app(
                'wait("a.came.v1", by="id", timeout="1h"),  # here',
                DONE_EMIT,
                more=', external=["a.came.v1"]',
            ),
            contracts={"a.came.v1": record(_closed=False, _optional=("id",), id="string")},
            proven=True,
        )
    ],
    "nobody-emits": [
        Broken(
            app('wait("a.came.v1", by="id", timeout="1h"),  # here', DONE_EMIT), contracts={"a.came.v1": DONE}
        ),
        Broken(
            app(
                DONE_EMIT,
                before='@reacts_to("a.came.v1")  # here\nasync def other(event: dict): ...',
                reactors="listen, other",
            ),
            contracts={"a.came.v1": DONE},
        ),
    ],
    "nobody-reacts": [Broken(app(DONE_EMIT + ",  # here", reactors=""))],
    "unreadable": [
        Broken(
            app(
                DONE_EMIT,
                before="class Read(BaseModel):\n    id: int\n\n\n"
                '@reacts_to("a.done.v1")  # here\nasync def other(event: Read): ...',
                reactors="other",
            ),
            proven=True,
        ),
        Broken(
            app(
                DONE_EMIT,
                before="class Read(BaseModel):\n    id: str\n    more: str\n\n\n"
                '@reacts_to("a.done.v1")  # here\nasync def other(event: Read): ...',
                reactors="other",
            ),
            proven=True,
        ),
        Broken(
            app(
                asking(),
                DONE_EMIT,
                before="class Take(BaseModel):\n    id: str\n    more: int\n"
                + service(model=": Take").replace(
                    '@pay.handles("pay.take.v1")', '@pay.handles("pay.take.v1")  # here'
                ),
                more=PAYING,
            ),
            contracts=TAKE,
            proven=True,
        ),
    ],
    "unchecked-reader": [
        Broken(
            app(
                DONE_EMIT,
                before="class Read(BaseModel):\n    id: int | str\n    n: int\n\n\n"
                '@reacts_to("a.done.v1")  # here\nasync def other(event: Read): ...',
                reactors="other",
            ).replace('{"id": "$.input.id"}', '{"id": "$.input.id", "n": "7"}'),
            contracts={
                "a.done.v1": record(id="string", n={"type": "string", "pattern": "^[1-9]$", "default": "7"})
            },
        )
    ],
    "undeclared-emit": [
        Broken(
            app(
                DONE_EMIT,
                before='@reacts_to("a.done.v1")  # here\n'
                "async def other(event: dict, ctx: ReactionContext):\n"
                '    await ctx.emit("a.next.v1", event)',
                reactors="other",
                more=', external=["a.next.v1"]',
            ),
            contracts={"a.next.v1": DONE},
        )
    ],
    "forbidden-emit": [
        Broken(
            app(
                DONE_EMIT,
                before='@reacts_to("a.done.v1", emits=[])  # here\n'
                "async def other(event: dict, ctx: ReactionContext):\n"
                '    await ctx.emit("a.next.v1", event)',
                reactors="other",
                more=', external=["a.next.v1"]',
            ),
            contracts={"a.next.v1": DONE},
        )
    ],
    "event-cycle": [
        Broken(
            app(
                DONE_EMIT,
                before='@reacts_to("a.done.v1", emits=["a.next.v1"])  # here\n'
                "async def other(event: dict): ...\n\n"
                '@reacts_to("a.next.v1", emits=["a.done.v1"])\nasync def third(event: dict): ...',
                reactors="other, third",
            ),
            contracts={"a.next.v1": DONE},
        )
    ],
    "waits-for-itself": [
        Broken(
            app(
                'wait("a.next.v1", by="id", timeout="1h"),  # here',
                DONE_EMIT,
                before='@reacts_to("a.done.v1", emits=["a.next.v1"])\nasync def other(event: dict): ...',
                reactors="other",
                on_failure='[emit("a.done.v1", {"id": "$.input.id"}, name="sorry")]',
            ),
            contracts={"a.next.v1": DONE},
        )
    ],
}
