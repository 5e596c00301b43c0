"""What is known of the formats: examples, and what every text of a format is like.

The likeness is a superset: no text of the format is left out of it, so that what it excludes is excluded.
"""

from __future__ import annotations

from contracts.judge import fits

__all__ = ["LIKE", "SAMPLES", "WITHIN", "examples", "known"]

_TIME = "[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]+)?([zZ]|[+-][0-9]{2}:[0-9]{2})"
LIKE = {
    "date": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
    "date-time": f"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[tT ]{_TIME}$",
    "duration": "^P[0-9A-Z.,]+$",
    "email": "^[^\\n]+@[^\\n]+$",
    "idn-email": "^[^\\n]+@[^\\n]+$",
    "ipv4": "^[0-9.]{7,15}$",
    "ipv6": "^[0-9a-fA-F:.]{2,45}$",
    "time": f"^{_TIME}$",
    "uri": "^[A-Za-z][A-Za-z0-9+.-]*:",
    "iri": "^[A-Za-z][A-Za-z0-9+.-]*:",
    "uuid": "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$",
}
# Every text of the one format is a text of the others (RFC 3986, RFC 3987, RFC 6531).
WITHIN = {
    "uri": frozenset({"iri", "uri-reference", "iri-reference"}),
    "iri": frozenset({"iri-reference"}),
    "uri-reference": frozenset({"iri-reference"}),
    "email": frozenset({"idn-email"}),
}
SAMPLES = {
    "date": ("2026-01-31", "1999-12-01"),
    "date-time": ("2026-01-31T09:30:00Z", "1999-12-01T23:59:59.123+01:00"),
    "duration": ("PT30S", "P1Y2M3DT4H5M6S", "P4W"),
    "email": ("ann@example.com", "a.b+c@mail.example.org"),
    "hostname": ("example.com", "a", "xn--bcher-kva.example"),
    "idn-email": ("ann@example.com", "jörg@example.com"),
    "idn-hostname": ("bücher.example", "example.com"),
    "ipv4": ("192.0.2.1", "255.255.255.255", "10.0.0.1"),
    "ipv6": ("2001:db8::1", "::", "::ffff:192.0.2.1"),
    "iri": ("https://example.com/ü", "https://example.com/a", "urn:a"),
    "iri-reference": ("/ü", "a", ""),
    "json-pointer": ("/a/b", "", "/a~1b"),
    "regex": ("^a$", "a", ""),
    "relative-json-pointer": ("0", "1/a", "2#"),
    "time": ("09:30:00Z", "23:59:59.123+01:00"),
    "uri": ("https://example.com/a?b=c#d", "urn:a", "mailto:a@b.example"),
    "uri-reference": ("/a", "a", "", "https://example.com/"),
    "uri-template": ("/a/{b}", "a", ""),
    "uuid": ("0b5a3e0e-6d0b-4b1f-9a3e-2f6f5d1c7a11", "AAAAAAAA-AAAA-4AAA-8AAA-AAAAAAAAAAAA"),
}
# Texts that many formats refuse.
_STRAY = (
    "",
    "a",
    "\x00",
    "%",
    "a b",
    "{",
    "-",
    "(",
    "2026-13-99",
    "2026-02-30T09:30:00Z",
    "999.1.1.1",
    "~",
    "\\",
)


def known(name: str) -> bool:
    """Whether the validator asserts the format."""
    return name in SAMPLES


def examples(names: list[str], avoided: list[str]) -> list[str]:
    """Texts to try where formats are wanted or avoided; each fits all of the one and none of the other."""
    names = [name for name in names if known(name)]
    tried = [*(text for name in names for text in SAMPLES.get(name, ())), *_STRAY]
    tried += [text for texts in SAMPLES.values() for text in texts]
    return [
        text
        for text in dict.fromkeys(tried)
        if all(fits("format", name, text) for name in names)
        and not any(fits("format", name, text) for name in avoided)
    ]
