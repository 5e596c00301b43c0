"""Stories, dead letters, quarantine, health and metrics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import select

from bus.port import DIRECT, Message, Outgoing
from gateway.app import create_gateway
from store.tables import audit, history, runs
from tests.gateway import seeding
from tests.gateway.house import LIMIT, House, away, served, until
from tests.gateway.openapi_checks import problems_of

PLACED = {"order_id": "o-1", "amount": 3}
PAID = {"type": "order.paid.v1", "data": {"order_id": "o-1"}, "correlation": "story-1"}


async def dead(house: House, client: Any, count: int = 1) -> list[dict[str, Any]]:
    """The dead letters, once there are as many."""

    async def look() -> list[dict[str, Any]] | None:
        items: list[dict[str, Any]] = (await client.get("/dead-letters")).json()["items"]
        return items if len(items) >= count else None

    found: list[dict[str, Any]] = await until(look, f"{count} dead letters")
    return found


async def test_a_story_tells_run_event_and_reaction_on_one_timeline(working_house: House) -> None:
    """Everything with one correlation id, causes before effects, and what was expected in vain."""
    async with working_house.client() as client:
        headers = {"Prefer": "wait=15", "X-Correlation-ID": "tale/7"}
        run = (await client.post("/flows/order/runs", json=PLACED, headers=headers)).json()
        assert run["correlation"] == "tale/7"

        async def told() -> dict[str, Any] | None:
            story: dict[str, Any] = (await client.get(run["links"]["story"])).json()
            done = [e for e in story["entries"] if e["kind"] == "reaction" and e["detail"]["finished_at"]]
            return story if done else None

        story = await until(told, "the reaction")
    entries = {entry["id"]: entry for entry in story["entries"]}
    places = {id: place for place, id in enumerate(entries)}
    kinds = [entry["kind"] for entry in story["entries"]]
    assert [found["id"] for found in story["runs"]] == [run["id"]]
    assert {"fact", "event", "reaction", "missing"} <= set(kinds)
    for entry in story["entries"]:
        assert entry["cause"] is None or places[entry["cause"]] < places[entry["id"]]
    (event,) = [entry for entry in story["entries"] if entry["kind"] == "event"]
    (reaction,) = [entry for entry in story["entries"] if entry["kind"] == "reaction"]
    (missing,) = [entry for entry in story["entries"] if entry["kind"] == "missing"]
    assert entries[event["cause"]]["type"] == "event_emitted"
    assert reaction["cause"] == missing["cause"] == event["id"]
    assert (reaction["detail"]["reactor"], reaction["detail"]["status"]) == ("tell", "done")
    assert (missing["detail"]["reactor"], story["missing"]) == ("absent", 1)


async def test_a_dead_letter_is_listed_grouped_shown_and_redriven(house: House) -> None:
    """What failed is there with its reason and message; redriven, it is handled, and the audit log knows."""
    house.told.failing = True
    async with house.client("operator") as client:
        published = (await client.post("/events", json=PAID)).json()
        (letter,) = await dead(house, client)
        listed = (await client.get("/dead-letters")).json()
        (group,) = listed["groups"]
        assert (group["reactor"], group["count"]) == ("tell", 1)
        assert "address" in letter["error_message"]
        of_group = await client.get("/dead-letters", params={"group": group["group"]})
        assert [one["id"] for one in of_group.json()["items"]] == [letter["id"]]
        assert (await client.get("/dead-letters?group=other")).json()["items"] == []
        shown = (await client.get(letter["links"]["self"])).json()
        assert shown["message"]["data"] == PAID["data"]
        assert shown["event_id"] == published["id"]
        story = (await client.get("/stories/story-1")).json()
        assert "dead_letter" in [entry["kind"] for entry in story["entries"]]
        house.told.failing = False
        again = await client.post(letter["links"]["redrive"], json={"reason": "fixed"})
        assert (again.status_code, again.json()) == (202, {"redriven": 1})

        async def told() -> bool:
            return house.told.events == ["o-1"]

        await until(told, "the redriven event")
        twice = await client.post(letter["links"]["redrive"])
        assert (twice.status_code, twice.json()["type"]) == (409, "urn:antiphon:problem:already-settled")
        assert (await client.get("/dead-letters")).json()["items"] == []
        assert len((await client.get("/dead-letters?status=all")).json()["items"]) == 1
        story = (await client.get("/stories/story-1")).json()
        assert "audit" in [entry["kind"] for entry in story["entries"]]
    deeds = await house.database.read(lambda conn: conn.execute(select(audit)).all())
    assert [(deed.action, deed.reason) for deed in deeds] == [("redrive", "fixed")]


async def test_a_group_is_redriven_together(house: House) -> None:
    """All letters of a group go to their reactor again, and the answer says how many."""
    house.told.failing = True
    async with house.client("operator") as client:
        for order in ("o-1", "o-2", "o-3"):
            await client.post("/events", json={"type": "order.paid.v1", "data": {"order_id": order}})
        letters = await dead(house, client, 3)
        house.told.failing = False
        answer = await client.post("/dead-letters/redrive", json={"group": letters[0]["group"]})
        assert answer.json() == {"redriven": 3}

        async def told() -> bool:
            return sorted(house.told.events) == ["o-1", "o-2", "o-3"]

        await until(told, "all three")
        nothing = await client.post("/dead-letters/redrive", json={"group": "of nobody"})
        assert nothing.json() == {"redriven": 0}


async def test_a_discarded_letter_stays_to_be_seen(house: House) -> None:
    """Given up with a reason: it is in no list of what is dead, and can't be redriven by mistake."""
    house.told.failing = True
    async with house.client("operator") as client:
        await client.post("/events", json=PAID)
        (letter,) = await dead(house, client)
        answer = await client.post(letter["links"]["discard"], json={"reason": "a test"})
        assert answer.json() == {"discarded": 1}
        again = await client.post(letter["links"]["discard"], json={"reason": "a test"})
        assert (again.status_code, again.json()["type"]) == (409, "urn:antiphon:problem:already-settled")
        shown = (await client.get(letter["links"]["self"])).json()
    assert (shown["status"], shown["reason"]) == ("discarded", "a test")


async def test_dead_letters_of_another_workspace_are_not_there(house: House) -> None:
    """Neither listed nor shown nor redriven nor discarded."""
    house.told.failing = True
    other = await house.key("admin", workspace="globex")
    async with house.client() as ours, house.client(key=other) as theirs:
        await ours.post("/events", json=PAID)
        (letter,) = await dead(house, ours)
        answers = [
            await theirs.get(letter["links"]["self"]),
            await theirs.post(letter["links"]["redrive"]),
            await theirs.post(letter["links"]["discard"], json={"reason": "x"}),
            await theirs.get("/stories/story-1"),
        ]
        assert (await theirs.get("/dead-letters?status=all")).json()["items"] == []
        assert (await theirs.post("/dead-letters/redrive", json={"group": letter["group"]})).json() == {
            "redriven": 0
        }
        assert len(await dead(house, ours)) == 1
    assert [answer.status_code for answer in answers] == [404] * 4


async def test_what_is_no_message_is_in_quarantine_with_the_reason(house: House) -> None:
    """Bytes put straight on a queue are kept and shown, to the installation's own workspace only."""
    other = await house.key("admin", workspace="globex")
    await house.bus.publish(Outgoing(Message("m-1", b"\xff\x00not json"), "reactor.tell", DIRECT))
    async with house.client("viewer") as client, house.client(key=other) as theirs:

        async def held() -> list[dict[str, Any]]:
            items: list[dict[str, Any]] = (await client.get("/quarantine")).json()["items"]
            return items

        (message,) = await until(held, "the quarantine")
        shown = (await client.get(message["links"]["self"])).json()
        assert shown["queue"] == "reactor.tell"
        assert shown["reason"]
        assert shown["message"]["data_base64"]
        assert (await theirs.get("/quarantine")).json()["items"] == []
        assert (await theirs.get(message["links"]["self"])).status_code == 404


async def test_alive_and_ready_need_no_key(house: House) -> None:
    """Each part is asked now; without the live store it is degraded and ready, without the bus it is not."""
    async with house.client(None) as client:
        assert (await client.get("/healthz")).json()["status"] == "alive"
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    async with (
        away() as live,
        house.client(None, app=create_gateway(replace(house.platform, live=live))) as client,
    ):
        degraded = await client.get("/readyz")
        assert (degraded.status_code, degraded.json()["status"]) == (200, "degraded")
        assert not degraded.json()["parts"]["live"]["ok"]
        await house.bus.close()
        down = await client.get("/readyz")
        assert (down.status_code, down.json()["status"]) == (503, "not ready")
        assert down.headers["retry-after"]
        assert (await client.get("/healthz")).status_code == 200
        await house.bus.start()


async def test_metrics_come_from_the_store_and_the_broker(working_house: House) -> None:
    """A gateway that has just started says the same as the one that did the work, but for latencies."""
    async with working_house.client() as client:
        await client.post("/flows/order/runs", json=PLACED, headers={"Prefer": "wait=15"})
        await client.post("/flows/approval/runs", json=PLACED)
        text = (await client.get("/metrics")).text
    async with working_house.client("viewer", app=create_gateway(working_house.platform)) as client:
        fresh = (await client.get("/metrics")).text
    for found in (samples(text), samples(fresh)):
        assert found['antiphon_runs{status="completed"}'] == 1
        assert found['antiphon_runs{status="running"}'] == 1
        assert found["antiphon_runs_open"] == 1
        assert found["antiphon_oldest_open_run_seconds"] >= 0
        assert found["antiphon_partitions"] == found["antiphon_partitions_owned"] == 2
        assert found['antiphon_queue_consumers{queue="reactor.tell"}'] == 1
        assert found['antiphon_queue_ready{queue="reactor.absent"}'] == 1
        assert found["antiphon_bus_connected"] == 1
        assert "antiphon_outbox_messages" in found
        assert found["antiphon_timers_overdue"] == 0
    assert any('route="/flows/{flow}/runs"' in name for name in samples(text))
    assert not any('route="/flows/{flow}/runs"' in name for name in samples(fresh))


async def test_metrics_count_the_keys_workspace_only_unless_they_are_open(working_house: House) -> None:
    """Another tenant's runs are not in them; an installation that opens them counts all, without a key."""
    other = await working_house.key("viewer", workspace="globex")
    opened = create_gateway(replace(working_house.platform, open_metrics=True))
    async with working_house.client() as ours, working_house.client(key=other) as theirs:
        await ours.post("/flows/order/runs", json=PLACED, headers={"Prefer": "wait=15"})
        assert samples((await theirs.get("/metrics")).text)['antiphon_runs{status="completed"}'] == 0
    async with working_house.client(None, app=opened) as anybody:
        assert samples((await anybody.get("/metrics")).text)['antiphon_runs{status="completed"}'] == 1


async def test_the_openapi_document_is_complete(house: House) -> None:
    """Each operation has a summary, a description, its security and every problem with an example."""
    async with house.client(None) as client:
        document = (await client.get("/openapi.json")).json()
    assert problems_of(document) == []
    example = document["paths"]["/flows/{flow}/runs"]["post"]["requestBody"]["content"]["application/json"]
    assert example["examples"]["order"]["value"] == {"order_id": "o-1", "amount": 3}
    assert orjson.dumps(document)


def samples(text: str) -> dict[str, float]:
    """Each sample by name and labels."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def test_what_is_nested_as_deep_as_can_be_stored_is_shown(house: House) -> None:
    """An answer is some levels deeper than what it shows."""
    nested = '{"n":' + "[" * 253 + "]" * 253 + "}"
    await seeding.put(house.database, runs, seeding.run("r-1", result=nested))
    await seeding.put(house.database, history, seeding.fact("r-1", 1) | {"data": nested})
    async with house.client("viewer") as client:
        for path in ("/runs/r-1", "/runs/r-1/history", "/stories/story-r-1"):
            answer = await client.get(path)
            assert (answer.status_code, nested in answer.text) == (200, True), path


@pytest.mark.parametrize(
    "path", ["/healthz", "/runs", "/runs/nothing", "/events/stream", "/stories/s/stream"]
)
async def test_head_says_what_get_would_say(house: House, path: str) -> None:
    """Whoever only looks whether it is there sends HEAD (RFC 9110 §9.1); that of a stream ends."""
    async with served(house.app) as url:
        headers = {"Authorization": f"Bearer {house.keys['viewer']}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=LIMIT) as client:
            head = await client.head(path)
            async with client.stream("GET", path) as got:
                pass
            assert head.status_code == got.status_code
            assert head.headers["content-type"] == got.headers["content-type"]
            assert head.headers.get("content-length") == got.headers.get("content-length")
            refused = await client.head("/runs/nothing/cancel")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
