"""Keys and roles: who gets in, and what they may do there."""

from __future__ import annotations

import asyncio
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, select

import gateway.auth as auth
import gateway.keys
from contracts.errors import ConfigurationError
from gateway.app import create_gateway
from gateway.auth import ABILITIES, ROLES, Keyring, Principal
from gateway.keys import check_listen, create_key, ensure_development_key, ensure_key, has_keys
from store.tables import audit, keys
from tests.gateway.house import WORKSPACE, House, away

# One request for each ability, and whether it changes anything.
ASKED = {
    "read runs": ("GET", "/runs"),
    "read operations": ("GET", "/dead-letters"),
    "start runs": ("POST", "/flows/order/runs"),
    "publish events": ("POST", "/events"),
    "signal runs": ("POST", "/runs/r-1/signals/go"),
    "act on runs": ("POST", "/runs/r-1/cancel"),
    "settle dead letters": ("POST", "/dead-letters/d-1/redrive"),
    "manage keys": ("GET", "/keys"),
}


def test_every_ability_is_asked_for() -> None:
    """The table of this test is as long as the table of abilities."""
    assert set(ASKED) == set(ABILITIES)


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_may_do_what_its_row_says_and_no_more(house: House, role: str) -> None:
    """Each ability is tried with each role: 403 exactly where the table has no entry."""
    async with house.client(role) as client:
        for ability, (method, path) in ASKED.items():
            answer = await client.request(method, path)
            refused = answer.status_code == 403
            assert refused == (role not in ABILITIES[ability]), f"{role} to {ability}: {answer.status_code}"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic YTpi"},
        {"X-API-Key": "wrong"},
        {"X-API-Key": ""},
    ],
)
async def test_without_a_key_that_is_known_nobody_gets_in(house: House, headers: dict[str, str]) -> None:
    """401 with the scheme to use, on reads and writes alike, and before the body is looked at."""
    async with house.client(None) as client:
        answers = [
            await client.get("/runs", headers=headers),
            await client.post("/flows/order/runs", content=b"{", headers=headers),
            await client.get("/metrics", headers=headers),
            await client.get("/events/stream", headers=headers),
        ]
    for answer in answers:
        assert (answer.status_code, answer.json()["type"]) == (401, "urn:antiphon:problem:unauthenticated")
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_key_works_as_bearer_and_as_header(house: House) -> None:
    """Both ways to send a key are the same."""
    async with house.client(None) as client:
        secret = house.keys["viewer"]
        bearer = await client.get("/runs", headers={"Authorization": f"bearer {secret}"})
        header = await client.get("/runs", headers={"X-API-Key": secret})
    assert [bearer.status_code, header.status_code] == [200, 200]


async def test_a_secret_is_shown_once_and_kept_as_a_digest(house: House) -> None:
    """A new key works at once, its secret is in no list and in no table."""
    async with house.client() as client:
        made = await client.post("/keys", json={"role": "viewer", "name": "a screen"})
        listed = await client.get("/keys")
    secret = made.json()["secret"]
    assert made.status_code == 201
    assert secret not in listed.text
    assert "a screen" in listed.text
    rows = await house.database.read(lambda conn: conn.execute(select(keys)).all())
    assert not any(secret in str(row) for row in rows)
    async with house.client(key=secret) as client:
        assert (await client.get("/runs")).status_code == 200
        assert (await client.post("/keys", json={"role": "admin", "name": "more"})).status_code == 403


async def test_a_revoked_key_is_refused_at_once(house: House) -> None:
    """Here without delay, although keys are cached; who revoked it is in the audit log."""
    app = create_gateway(replace(house.platform, key_cache_seconds=3600.0))
    async with house.client(app=app) as admin:
        made = (await admin.post("/keys", json={"role": "viewer", "name": "lost"})).json()
        async with house.client(key=made["secret"], app=app) as lost:
            assert (await lost.get("/runs")).status_code == 200
            assert (await admin.delete(f"/keys/{made['id']}")).status_code == 204
            assert (await lost.get("/runs")).status_code == 401
        assert (await admin.delete(f"/keys/{made['id']}")).status_code == 204
    deeds = await house.database.read(lambda conn: conn.execute(select(audit)).all())
    assert [deed.action for deed in deeds] == ["key.create", "key.revoke", "key.revoke"]


async def test_a_key_revoked_elsewhere_is_refused_when_the_cache_is_old(house: House) -> None:
    """Another gateway's revocation counts as soon as the cached answer has had its time."""
    now = [1000.0]
    cached = replace(house.platform, key_cache_seconds=2.0, clock=lambda: now[0])
    here, there = create_gateway(cached), create_gateway(house.platform)
    async with house.client(app=here) as admin, house.client(app=there) as elsewhere:
        made = (await elsewhere.post("/keys", json={"role": "viewer", "name": "lost"})).json()
        async with house.client(key=made["secret"], app=here) as lost:
            assert (await lost.get("/runs")).status_code == 200
            await elsewhere.delete(f"/keys/{made['id']}")
            now[0] += 1.9
            assert (await lost.get("/runs")).status_code == 200
            now[0] += 0.2
            assert (await lost.get("/runs")).status_code == 401
        assert (await admin.get("/runs")).status_code == 200


async def test_those_who_ask_together_are_few_queries(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the cached answer is too old for all of them: a query each would outlast it."""
    queries: list[int] = []
    real = auth._by_digests

    def counted(conn: Connection, wanted: list[str]) -> list[Principal | None]:
        queries.append(len(wanted))
        return real(conn, wanted)

    monkeypatch.setattr(auth, "_by_digests", counted)
    now = [1000.0]
    keyring = Keyring(house.database, lambda: now[0], ttl=2.0)
    roles = {}
    for role in ("viewer", "operator"):
        made = await create_key(
            house.database, workspace=WORKSPACE, role=role, name=role, clock=house.platform.clock
        )
        roles[made.secret] = role
    secrets = [*roles, "nobody's"] * 200
    for _ in range(2):
        found = await asyncio.gather(*map(keyring.find, secrets))
        assert [one.role if one else None for one in found] == [roles.get(secret) for secret in secrets]
        assert sum(queries) == len(secrets)
        assert len(queries) <= 3
        await asyncio.gather(*map(keyring.find, secrets))
        assert sum(queries) == len(secrets), "they are cached"
        queries.clear()
        now[0] += 3.0


async def test_what_is_forgotten_during_a_lookup_is_not_cached(house: House) -> None:
    """The lookup may have read what was there before the revocation."""
    made = await create_key(
        house.database, workspace=WORKSPACE, role="viewer", name="lost", clock=house.platform.clock
    )
    keyring = Keyring(house.database, lambda: 1000.0, ttl=3600.0)
    lookup = asyncio.create_task(keyring.find(made.secret))
    await asyncio.sleep(0)  # it has begun
    keyring.forget(made.key.id)
    assert await lookup is not None
    await house.database.write(lambda conn: conn.execute(delete(keys).where(keys.c.id == made.key.id)))
    assert await keyring.find(made.secret) is None


async def test_keys_of_another_workspace_are_not_there(house: House) -> None:
    """An admin neither sees nor revokes another workspace's keys."""
    other = await create_key(
        house.database, workspace="globex", role="admin", name="theirs", clock=house.platform.clock
    )
    async with house.client() as client:
        listed = (await client.get("/keys")).json()["items"]
        answer = await client.delete(f"/keys/{other.key.id}")
    assert {key["workspace"] for key in listed} == {WORKSPACE}
    assert answer.status_code == 404
    async with house.client(key=other.secret) as client:
        assert (await client.get("/runs")).status_code == 200


async def test_requests_beyond_a_keys_rate_are_429(house: House) -> None:
    """One key that asks too much is told when to come back; another is not harmed."""
    app = create_gateway(replace(house.platform, requests_per_second=0.01, request_burst=3.0))
    async with house.client("viewer", app=app) as client, house.client("operator", app=app) as other:
        answers = [await client.get("/runs") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 100
        assert (await other.get("/runs")).status_code == 200


async def test_guessing_keys_is_slowed_down(house: House) -> None:
    """An address with many wrong keys is refused before the store is asked for ever; a right key goes on."""
    async with house.client(None) as guesser, house.client() as client:
        codes = {
            (await guesser.get("/runs", headers={"X-API-Key": f"guess-{number}"})).status_code
            for number in range(140)
        }
        assert codes == {401, 429}
        assert (await client.get("/runs")).status_code == 200


async def test_without_the_live_store_there_is_no_limit_and_all_else_works(house: House) -> None:
    """Rate limits may be lost; requests are not refused for it."""
    async with away() as live:
        platform = replace(house.platform, live=live, requests_per_second=0.01, request_burst=1.0)
        async with house.client(app=create_gateway(platform)) as client:
            assert {(await client.get("/runs")).status_code for _ in range(3)} == {200}


async def test_the_development_key_is_made_once_and_can_be_shown_again(house: House, tmp_path: Path) -> None:
    """Kept in a file that only its owner can read; the same at the next start."""
    path = tmp_path / "deep" / "dev.key"
    clock = house.platform.clock
    first = await ensure_development_key(house.database, path, workspace=WORKSPACE, clock=clock)
    second = await ensure_development_key(house.database, path, workspace=WORKSPACE, clock=clock)
    assert (first.created, second.created) == (True, False)
    assert first.secret == second.secret == path.read_text().strip()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    async with house.client(key=first.secret) as client:
        assert (await client.get("/keys")).status_code == 200


async def test_a_development_key_that_is_no_longer_known_is_made_anew(house: House, tmp_path: Path) -> None:
    """A file from another store, or of a revoked key, is replaced; its mode is right again."""
    path = tmp_path / "dev.key"
    path.write_text("antiphon_from_another_store\n")
    path.chmod(0o644)
    made = await ensure_development_key(house.database, path, workspace=WORKSPACE, clock=house.platform.clock)
    assert made.created
    assert path.read_text().strip() == made.secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_configured_key_is_made_once_and_stays_revoked(house: House) -> None:
    """Starting again neither doubles it nor brings it back."""
    secret = "a-secret-that-was-configured"
    for _ in range(2):
        await ensure_key(
            house.database,
            secret,
            workspace=WORKSPACE,
            role="operator",
            name="configured",
            clock=house.platform.clock,
        )
    async with house.client() as admin, house.client(key=secret) as client:
        assert (await client.get("/runs")).status_code == 200
        listed = (await admin.get("/keys")).json()["items"]
        (configured,) = [key for key in listed if key["name"] == "configured"]
        await admin.delete(f"/keys/{configured['id']}")
        await ensure_key(
            house.database,
            secret,
            workspace=WORKSPACE,
            role="operator",
            name="configured",
            clock=house.platform.clock,
        )
        assert (await client.get("/runs")).status_code == 401


async def test_gateways_that_start_together_make_a_configured_key_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has looked before the other had made it, and none may end because of it."""
    looked = gateway.keys._by_secret
    early = iter((None, None))
    monkeypatch.setattr(gateway.keys, "_by_secret", lambda *given: next(early, looked(*given)))
    for _ in range(2):
        await ensure_key(
            house.database,
            "a-secret-that-was-configured",
            workspace=WORKSPACE,
            role="admin",
            name="configured",
            clock=house.platform.clock,
        )
    async with house.client(key="a-secret-that-was-configured") as client:
        names = [key["name"] for key in (await client.get("/keys")).json()["items"]]
    assert names.count("configured") == 1


async def test_a_development_key_is_no_configured_key(house: House, tmp_path: Path) -> None:
    """A store that was used on loopback only is not ready for other addresses."""
    await house.database.write(lambda conn: conn.execute(delete(keys)) and None)
    await ensure_development_key(
        house.database, tmp_path / "dev.key", workspace=WORKSPACE, clock=house.platform.clock
    )
    assert not await house.database.read(has_keys)
    await house.key("viewer")
    assert await house.database.read(has_keys)


@pytest.mark.parametrize(("role", "secret"), [("king", None), ("viewer", "short")])
async def test_a_key_that_can_not_be_right_is_refused(house: House, role: str, secret: str | None) -> None:
    """An unknown role, or a secret that can be guessed."""
    with pytest.raises(ConfigurationError):
        await create_key(
            house.database,
            workspace=WORKSPACE,
            role=role,
            name="x",
            clock=house.platform.clock,
            secret=secret,
        )


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.8.8.8"])
def test_loopback_needs_no_configured_key(host: str) -> None:
    """On one's own machine the development key will do."""
    check_listen(host, configured=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "example.com"])
def test_nothing_listens_elsewhere_without_a_configured_key(host: str) -> None:
    """Any other address is refused before it is listened on, unless a key is configured."""
    with pytest.raises(ConfigurationError, match="ANTIPHON_ADMIN_KEY"):
        check_listen(host, configured=False)
    check_listen(host, configured=True)
