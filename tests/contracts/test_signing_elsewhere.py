"""Another language signs what we take: the JavaScript in docs/security.md, as it stands there."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from contracts.envelope import Event
from contracts.errors import ForgedMessage
from contracts.keyring import Key, Keyring, Rights, SigningKey
from contracts.signing import Sealed, Verifier

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
NODE = shutil.which("node")
SECRET = bytes(range(32))
EVENTS = "antiphon.events"


class Ring:
    """The key of one producer."""

    def keyring(self) -> Keyring:
        public = SigningKey("billing/1", "ed25519", SECRET).public()
        rights = Rights.of(sources=["/acme/billing"], types=["bill.**"], exchanges=[EVENTS])
        return Keyring([Key("billing/1", "ed25519", public, rights, not_before=0.0)])

    look_again = keyring


def test_what_node_signs_is_let_in() -> None:
    """With attributes beyond ASCII and one that is empty; changed afterwards it is refused."""
    if NODE is None:
        reason = "there is no Node.js here to run the JavaScript of docs/security.md"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    found = re.search(r"```js\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    event = Event.create(
        "bill.made.v1", {"id": "ü"}, id="e-1", source="/acme/billing", at=1.0, workspace="acme", subject=""
    )
    event = Event(**{**event.__dict__, "extensions": {**event.extensions, "žluť": "🚕"}})
    message = {
        "headers": event.headers(),
        "body": base64.b64encode(event.body).decode(),
        "contentType": event.datacontenttype,
        "exchange": EVENTS,
        "routingKey": event.type,
    }
    key = {"kid": "billing/1", "algorithm": "ed25519", "secret": base64.b64encode(SECRET).decode()}
    script = (
        f"{found[1]}\nconst m = {json.dumps(message)}; m.body = Buffer.from(m.body, 'base64');"
        f"console.log(JSON.stringify(sign(m, {json.dumps(key)})));"
    )
    ran = subprocess.run([NODE, "-e", script], capture_output=True, check=True, timeout=60)
    sealed = Sealed(json.loads(ran.stdout), event.body, event.datacontenttype, EVENTS, event.type)
    verifier = Verifier(Ring(), misrouted=lambda *way: None, freshness=60.0, clock=time.time)
    assert verifier.verify(sealed, first=True).kid == "billing/1"
    changed = Sealed(sealed.headers, event.body + b" ", event.datacontenttype, EVENTS, event.type)
    with pytest.raises(ForgedMessage):
        verifier.verify(changed, first=True)
