"""Tokens and keys of known shapes: found in what commands write, and masked.

What is masked keeps its length and its line ends, so that offsets and lines stay true, and of a token the
first characters, which tell only what it is. To mask once more changes nothing. Every pattern begins with a
fixed text, and either fails within a few characters or takes in what it has looked at: the work grows with
the length alone, whatever a command writes. Where none of the fixed texts stands, `in` has seen to that.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Collection, Iterable, Mapping

    Span = tuple[int, int]

CONTEXT = 16 * 1024  # bytes: no secret is longer; what is looked at in pieces overlaps by that
SHORTEST = 8  # characters of a value that nothing but its variable's name gives away
_SHOWN = 4  # first characters of a token that stay

# What the name of one of a job's own variables ends in, if its value is a secret.
_OWN_NAMES = (
    *("TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIALS"),
    *("API_KEY", "APIKEY", "ACCESS_KEY", "PRIVATE_KEY", "SECRET_KEY"),
)

_URLSAFE = r"A-Za-z0-9_\-"
# Tokens: what they begin with, what has to be there besides, what they consist of, and of how much at least. The
# beginning of a word is asked for where the text is an ordinary one; a colour (`m`) may stand before it.
_TOKENS = (
    ("AKIA", "(?<![A-Z0-9]AKIA)", "A-Z0-9", "{16}(?![A-Za-z0-9])"),
    ("ASIA", "(?<![A-Z0-9]ASIA)", "A-Z0-9", "{16}(?![A-Za-z0-9])"),
    *((f"gh{kind}_", "", "A-Za-z0-9", "{36,}") for kind in "pousr"),
    ("github_pat_", "", "A-Za-z0-9_", "{36,}"),
    ("glpat-", "", f"{_URLSAFE}.", "{20,}"),
    ("sk-", "(?:ant|proj|svcacct|admin)-", _URLSAFE, "{20,}"),
    ("sk-", "(?:(?<![A-Za-z0-9]sk-)|(?<=[0-9;[]msk-))", "A-Za-z0-9", "{32,}"),
    ("xox", "[abeoprs]-", "A-Za-z0-9-", "{10,}"),
    ("xapp-", "", "A-Za-z0-9-", "{20,}"),
    ("k_live_", "(?<=[rs]k_live_)", "A-Za-z0-9", "{16,}"),
    ("k_test_", "(?<=[rs]k_test_)", "A-Za-z0-9", "{16,}"),
    ("AIza", rf"(?:(?<![{_URLSAFE}+/]AIza)|(?<=[0-9;[]mAIza))", _URLSAFE, "{35,}"),
    ("ya29.", "", f"{_URLSAFE}.", "{20,}"),
    ("npm_", "", "A-Za-z0-9", "{36,}"),
    ("pypi-AgEI", "", _URLSAFE, "{50,}"),
    ("hf_", "", "A-Za-z0-9", "{30,}"),
    ("runq_", "", _URLSAFE, "{43,}"),
    ("SG.", "", f"{_URLSAFE}.", "{60,}"),
    *((f"do{kind}_v1_", "", "a-f0-9", "{64}") for kind in "opr"),
    ("AGE-SECRET-KEY-1", "", "A-Z0-9", "{50,}"),
    ("hooks.slack.com/", "(?:services|workflows)/", "A-Za-z0-9/", "{20,}"),
)
# Others, of which nothing stays: what they begin with, what leads to the secret, the secret, and as much of it as
# may have come so far.
_QUOTE, _BLANK = r"(?:\\?[\"'])?", r"[ \t]{0,4}"
_MASKED = r"(?![^\s*]{0,4}\*{4})"  # not again what has been masked as a token
_ASSIGNED = f"{_QUOTE}{_BLANK}[=:]{_BLANK}{_QUOTE}"
_VALUE = (f"[^\\s\"'\\x00]{{{SHORTEST},{CONTEXT - 256}}}(?<!\\\\)", r"[^\s\"'\x00]+")
_PEM = r"(?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----(?>\s{1,4}[A-Za-z-]{1,40}:[^\r\n]{0,200}+(?=[\r\n])){0,4}+"
_IN_PEM = r"A-Za-z0-9+/=\s\\"
_OTHERS = (
    ("-----BEGIN ", _PEM, f"[{_IN_PEM}]{{16,}}", f"[{_IN_PEM}]+"),
    ("://", r"[^\s/:@\"'<>]{0,200}:", r"[^\s/@\"'<>]{1,500}(?=@)", r"(?![0-9]{0,5}\Z)[^\s/@\"'<>]+"),
    ("uthorization", f"{_ASSIGNED}[A-Za-z]{{3,20}}[ \t]{{1,4}}{_MASKED}", *_VALUE),
    ("UTHORIZATION", f"{_ASSIGNED}[A-Za-z]{{3,20}}[ \t]{{1,4}}{_MASKED}", *_VALUE),
    ("TOKEN", _ASSIGNED + _MASKED, *_VALUE),
    ("SECRET", _ASSIGNED + _MASKED, *_VALUE),
    ("PASSW", "(?:OR)?D" + _ASSIGNED + _MASKED, *_VALUE),
    ("_KEY", "(?:(?<=API_KEY)|(?<=ACCESS_KEY)|(?<=PRIVATE_KEY)|(?<=SECRET_KEY))" + _ASSIGNED + _MASKED, *_VALUE),
    ("APIKEY", _ASSIGNED + _MASKED, *_VALUE),
    ("aws_se", "(?:cret_access_key|ssion_token)" + _ASSIGNED + _MASKED, *_VALUE),
    ("AccountKey", _ASSIGNED + _MASKED, *_VALUE),
    ("_authToken", _ASSIGNED + _MASKED, *_VALUE),
    ("lient_secret", _ASSIGNED + _MASKED, *_VALUE),
    ("SecretAccessKey", _ASSIGNED + _MASKED, *_VALUE),
    ("SessionToken", _ASSIGNED + _MASKED, *_VALUE),
)


class _Shape:
    """One shape: the text that it begins with, and where the secret lies: in group 1, or behind what a token shows."""

    def __init__(self, start: str, whole: str, so_far: str) -> None:
        import re

        self.start = start.encode()
        self._search = re.compile(re.escape(self.start) + whole.encode()).finditer
        self._begun = re.compile(re.escape(self.start) + so_far.encode() + rb"\Z").match

    def found(self, data: bytearray) -> Iterable[Span]:
        """Where there is something to mask."""
        return map(_secret_in, self._search(data)) if self.start in data else ()

    def begun(self, data: bytearray) -> Span | None:
        """Where one has begun that may go on behind the end."""
        at = data.rfind(self.start, max(0, len(data) - CONTEXT))
        match = self._begun(data, at) if at >= 0 else None
        return _secret_in(match) if match else None


class _JsonWebToken(_Shape):
    """Three parts, the first two of which begin as base64 writes `{"`. The whole run is taken in, then looked at."""

    def __init__(self) -> None:
        super().__init__("eyJ", f"[{_URLSAFE}.]*", f"[{_URLSAFE}.]*")

    def found(self, data: bytearray) -> Iterable[Span]:
        """Where there is something to mask."""
        return ((begin, end) for begin, end in super().found(data) if _has_three_parts(data[begin - _SHOWN : end]))


def _has_three_parts(run: bytearray) -> bool:
    parts = run.split(b".", 3)
    return len(parts) > 2 and parts[1].startswith(b"eyJ") and min(map(len, parts[:3])) >= SHORTEST


def _secret_in(match: re.Match[bytes]) -> Span:
    return match.span(1) if match.re.groups else (match.start() + _SHOWN, match.end())


_shapes: list[_Shape] = []


def _all_shapes() -> list[_Shape]:
    """Made on first use: not even `re` is there on the way of a hook."""
    if not _shapes:
        made = [_Shape(start, f"{lead}[{of}]{least}", f"{lead}[{of}]*") for start, lead, of, least in _TOKENS]
        made.append(_JsonWebToken())
        made += [_Shape(start, f"{lead}({it})", f"{lead}({so_far})") for start, lead, it, so_far in _OTHERS]
        _shapes[:] = made
    return _shapes


_COVERED = bytes(byte if byte in b"\r\n" else ord("*") for byte in range(256))


def _cover(data: bytearray, spans: Iterable[Span]) -> None:
    for begin, end in list(spans):
        data[begin:end] = data[begin:end].translate(_COVERED)


def mask(data: bytes, extra: Collection[bytes] = (), *, growing: bool = False) -> bytes:
    """The same bytes, as many, with the secrets in them masked: known shapes, and the values in `extra`.

    With `growing` the data ends where a command has come to so far: what may be the beginning of a secret at
    its very end is masked as well.
    """
    masked = bytearray(data)
    for value in sorted(extra, key=len, reverse=True):
        masked = masked.replace(value, value.translate(_COVERED))
        if growing:
            _cover(masked, _begun_value(masked, value))
    for shape in _all_shapes():
        _cover(masked, shape.found(masked))
        if growing and (span := shape.begun(masked)):
            _cover(masked, [span])
    return bytes(masked)


def _begun_value(data: bytearray, value: bytes) -> list[Span]:
    """Where the end is a beginning of a value, of more than a few characters."""
    for length in range(min(len(value) - 1, len(data)), _SHOWN - 1, -1):
        if data.endswith(value[:length]):
            return [(len(data) - length, len(data))]
    return []


def mask_text(text: str) -> str:
    """The same text, of the same length, with everything but the first characters of each secret masked."""
    plain = text.encode("latin-1", "replace")  # a byte for each character, whatever it is
    masked = mask(plain)
    if masked == plain:
        return text
    return "".join(kept if was == now else "*" for kept, was, now in zip(text, plain, masked, strict=True))


def own_secrets(env: Mapping[str, str]) -> tuple[bytes, ...]:
    """The values of a job's own variables whose names tell that they are secrets, for `mask`."""
    found = {
        value.encode("utf-8", "surrogateescape") for name, value in env.items() if name.upper().endswith(_OWN_NAMES)
    }
    return tuple(value for value in found if len(value.strip()) >= SHORTEST and len(value) <= CONTEXT)
