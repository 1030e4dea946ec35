"""Tokens and keys of known shapes: what is masked, what is not, and that looking for them is never slow."""

from __future__ import annotations

import base64
import json
import os
import random
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_core import outcomes
from queue_core.secret_shapes import CONTEXT, mask, mask_text, own_secrets

BASE62 = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789aBcDeFgHiJkLmNoPqRsTuVwXyZ"
HEX = "0123456789abcdef" * 4
PEM_BODY = (
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\nMzEfYyjiWA4R4/M2bS1GB4t7NXp98C3SC6dVMvDu\n"
)
HEADER, PAYLOAD = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", "eyJzdWIiOiIxMjM0NTY3ODkwIn0"

# Each: the text, and what of it must be gone.
TOKENS = {
    "aws id": "AKIAIOSFODNN7EXAMPLE",
    "aws temporary id": "ASIAIOSFODNN7EXAMPLE",
    "github": "ghp_" + BASE62[:36],
    "github oauth": "gho_" + BASE62[:36],
    "github user": "ghu_" + BASE62[:36],
    "github server": "ghs_" + BASE62[:36],
    "github refresh": "ghr_" + BASE62[:36],
    "github fine": "github_pat_" + BASE62[:22] + "_" + BASE62[:59],
    "gitlab": "glpat-" + "x_9-Ab" * 4,
    "anthropic": "sk-ant-api03-" + BASE62 + "-_AA",
    "openai": "sk-" + BASE62[:48],
    "openai project": "sk-proj-" + BASE62 + "_-" + BASE62[:20],
    "slack bot": "xoxb-123456789012-1234567890123-" + BASE62[:24],
    "slack user": "xoxp-123456789012-" + BASE62[:24],
    "stripe": "sk_live_" + BASE62[:24],
    "stripe restricted": "rk_test_" + BASE62[:24],
    "google key": "AIza" + BASE62[:35],
    "google oauth": "ya29." + BASE62,
    "npm": "npm_" + BASE62[:36],
    "pypi": "pypi-AgEIcHlwaS5vcmc" + BASE62,
    "hugging face": "hf_" + BASE62[:34],
    "sendgrid": "SG." + BASE62[:22] + "." + BASE62[:43],
    "digital ocean": "dop_v1_" + "0123456789abcdef" * 4,
    "age": "AGE-SECRET-KEY-1" + "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7LQPZRY9X8GF2TVDW0S3JN54KHCE",
    "slack hook": "hooks.slack.com/services/T0000/B0000/" + BASE62[:24],
    "runq": "runq_" + BASE62[:40] + "-_x",
    "json web token": f"{HEADER}.{PAYLOAD}.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
}
AROUND = ("{}", "token {} ok", "a\n{}\nb", '"{}"', "key={},", "\x1b[31m{}\x1b[0m", "({})", "https://host/x?t={}&b=1")

IN_CONTEXT = {
    "aws secret": ("aws_secret_access_key = {}", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    "aws session": ("aws_session_token={}", "FwoGZXIvYXdzEBYaDExAMPLE+/="),
    "npmrc": ("//registry.example/:_authToken={}", "0f2f0a4e-aaaa-bbbb-cccc-1234567890ab"),
    "azure": ("AccountName=x;AccountKey={}", BASE62[:50] + "=="),
    "client secret": ('"client_secret": "{}"', BASE62[:20]),
    "aws json": ('"SecretAccessKey": "{}",', "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    "url": ("postgres://app:{}@db.local:5432/x", "s3cr%3Dt!"),
    "url without a user": ("redis://:{}@cache/0", "pw"),
    "url in quotes": ("remote = 'https://me:{}@git.local/r.git'", "hunter2"),
    "bearer": ("> Authorization: Bearer {}", "abcdef123456"),
    "basic": ("authorization: Basic {}", "dXNlcjpwYXNzd29yZA=="),
    "bearer in json": ('{{"Authorization": "Bearer {}"}}', "abcdef123456"),
    "bearer in a variable": ("HTTP_AUTHORIZATION=Bearer {}", "abcdef123456"),
    "env token": ("MY_TOKEN={}", "abcdefgh"),
    "env secret": ("CLIENT_SECRET={}", "12345678"),
    "env password": ("DB_PASSWORD={}", "correct-horse!"),
    "env passwd": ("ROOT_PASSWD={}", "p@ss:w0rd/x"),
    "env api key": ("export SOME_API_KEY='{}'", "zyxwvuts"),
    "env apikey": ("SOMEAPIKEY: {}", "zyxwvuts"),
    "env access key": ("STORE_ACCESS_KEY={}", "zyxwvuts"),
    "env private key": ("PRIVATE_KEY = {}", "zyxwvuts"),
    "env in json": ('"GITHUB_TOKEN": "{}"', "v1.0123456789"),
    "env in escaped json": (r"{{\"X_TOKEN\": \"{}\"}}", "v10123456789"),
}

UNTOUCHED = [
    "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
    "sha256:" + HEX,
    str(uuid.UUID(int=0x1234567812345678)),
    "token: expected",
    "unexpected token: identifier",
    "password: required field",
    "TOKEN=short",
    "TOKEN_COUNT=12345678",
    "SECRET_NAME=my-database",
    "PRIMARY_KEY=customer_id",
    "sk-learn and scikit-learn-intelex",
    "task-9f8e7d6c5b4a39281706f5e4d3c2b1a0",
    "ghp_short",
    "npm_config_registry=https://registry.local/",
    "hf_hub_download(repo_id, filename)",
    "AKIA in a sentence",
    "EURASIAPACIFICREGIONALHEADQUARTERS",
    "http://localhost:8080/path@2x.png",
    "http://user@host:22/path",
    "git@github.local:owner/repo.git",
    "eyJ is how it begins",
    "eyJhbGciOiJIUzI1NiJ9 alone",
    "-----BEGIN CERTIFICATE-----\n" + PEM_BODY + "-----END CERTIFICATE-----",
    "-----BEGIN PUBLIC KEY-----\n" + PEM_BODY + "-----END PUBLIC KEY-----",
    "-----END PRIVATE KEY-----\nand then some more plain words follow here",
    "Authorization: none",
    "xoxo from all of us",
    "data:image/png;base64," + base64.b64encode(random.Random(7).randbytes(20_000)).decode(),
]


@pytest.mark.parametrize("name", TOKENS)
def test_a_token_is_masked_but_for_its_first_characters(name: str) -> None:
    token = TOKENS[name]
    for around in AROUND:
        text = around.format(token)
        masked = mask(text.encode()).decode()
        assert len(masked) == len(text)
        assert token[5:] not in masked, (around, masked)
        assert masked.startswith(around.partition("{}")[0] + token[:4]), masked
        assert masked.endswith(around.partition("{}")[2]), masked
        assert mask(masked.encode()).decode() == masked, "masking again must change nothing"
        assert mask_text(text) == masked


@pytest.mark.parametrize("name", IN_CONTEXT)
def test_what_only_its_surroundings_give_away_is_masked_whole(name: str) -> None:
    around, secret = IN_CONTEXT[name]
    masked = mask(around.format(secret).encode()).decode()
    assert masked == around.format("*" * len(secret))
    assert mask(masked.encode()).decode() == masked


@pytest.mark.parametrize("kind", ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED ", "PGP "])
def test_a_private_key_is_masked_over_its_lines(kind: str) -> None:
    block = " BLOCK" if kind == "PGP " else ""
    text = f"key:\n-----BEGIN {kind}PRIVATE KEY{block}-----\n{PEM_BODY}-----END {kind}PRIVATE KEY{block}-----\ndone\n"
    masked = mask(text.encode()).decode()
    assert masked.count("\n") == text.count("\n")
    assert not [line for line in PEM_BODY.splitlines() if line in masked or line[8:20] in masked]
    assert masked.startswith(f"key:\n-----BEGIN {kind}PRIVATE KEY")
    assert masked.endswith(f"-----END {kind}PRIVATE KEY{block}-----\ndone\n")
    assert mask(masked.encode()) == masked.encode()


def test_a_private_key_with_headers_and_one_in_json_are_masked() -> None:
    old = f"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,AB12\n\n{PEM_BODY}"
    for text in (
        old,
        json.dumps({"private_key": f"-----BEGIN PRIVATE KEY-----\n{PEM_BODY}-----END PRIVATE KEY-----\n"}),
    ):
        masked = mask(text.encode()).decode()
        assert "kqhkiG9w0BAQ" not in masked and "WA4R4" not in masked


@pytest.mark.parametrize("text", UNTOUCHED)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert mask(text.encode()).decode() == text


def test_values_of_the_jobs_own_variables_are_masked_wherever_they_stand() -> None:
    env = {"SITE_PASSWORD": "hunter22", "PATH": "/usr/bin:/bin", "my_secret": "füßchen-99", "A_TOKEN": "short"}
    secrets = own_secrets(env)
    assert set(secrets) == {b"hunter22", "füßchen-99".encode()}
    assert mask("a hunter22b /usr/bin:/bin short füßchen-99".encode(), secrets) == (
        b"a ********b /usr/bin:/bin short " + b"*" * len("füßchen-99".encode())
    )


@pytest.mark.parametrize("token", [*TOKENS.values(), "MY_TOKEN=abcdefghijkl", "x://u:longpassword"])
def test_the_beginning_of_a_secret_that_is_still_being_written_is_masked(token: str) -> None:
    whole = ("text " + token).encode()
    for length in range(len(whole) - 8, len(whole) + 1):
        shown = mask(whole[:length], growing=True)
        assert whole[5 + 9 : length] not in shown or length <= 5 + 12, shown
    assert mask(b"and hunter2", [b"hunter22"], growing=True) == b"and *******"


@pytest.mark.parametrize("line", ["http://localhost:8080", "50 %", "Continue? [y/n] ", "disk-cleanup", "a://b"])
def test_an_unfinished_line_without_a_secret_is_shown(line: str) -> None:
    assert mask(line.encode(), growing=True).decode() == line


def test_a_text_keeps_its_characters() -> None:
    token = TOKENS["github"]
    assert mask_text(f"→ {token} ←") == f"→ ghp_{'*' * 36} ←"
    assert mask_text("ünï → ☃") == "ünï → ☃"


PIECES = st.sampled_from(
    [*TOKENS.values(), "://u:", "pw@", "/", "@", ":", "=", " ", "\n", '"', "*", "****", "TOKEN", "SECRET", "PASSWORD",
     "API_KEY", "abcdefgh", "12345678", "eyJ", "ghp_", "sk-", "-----BEGIN PRIVATE KEY-----", "Authorization: Bearer ",
     PEM_BODY, "aaaa", "x" * 40]
)  # fmt: skip


@given(st.lists(PIECES, max_size=14).map("".join), st.sets(st.sampled_from(["abcdefgh", "aaaaaaaa", "u:abcdefgh/"])))
def test_masking_keeps_length_and_lines_and_is_done_once(text: str, extra: set[str]) -> None:
    secrets = [one.encode() for one in extra]
    masked = mask(text.encode(), secrets)
    assert len(masked) == len(text.encode())
    assert [i for i, byte in enumerate(masked) if byte in b"\r\n"] == [
        i for i, byte in enumerate(text.encode()) if byte in b"\r\n"
    ]
    assert mask(masked, secrets) == masked


HOSTILE = {
    "eyJ": "eyJ",
    "dots": "eyJeyJeyJ.",
    "urls": "://a:b",
    "schemes": "://",
    "users": "://" + "u" * 190,
    "names": "TOKEN=",
    "blanks": "TOKEN    ",
    "keys": "-----BEGIN PRIVATE KEY-----",
    "headers": "-----BEGIN PRIVATE KEY-----\na:" + "b" * 199 + "\n",
    "words": "-----BEGIN A A ",
    "spaces": "-----BEGIN PRIVATE KEY-----" + " " * 2000,
    "tokens": "ghp_aaaa",
    "auth": "Authorization: Bearer ",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_the_work_grows_with_the_length_alone(name: str) -> None:
    """A megabyte takes tens of milliseconds; what is quadratic would take the better part of an hour."""
    piece = HOSTILE[name].encode()
    data = piece * (1024 * 1024 // len(piece))
    assert len(mask(data, growing=True)) == len(data)


class TestOnDisk:
    """`seal` masks a file in place."""

    @pytest.mark.parametrize("at", [0, 1, outcomes.WINDOW - 20, outcomes.WINDOW - CONTEXT - 20, outcomes.WINDOW - 1])
    def test_a_secret_across_a_windows_border_is_found(self, tmp_path: os.PathLike[str], at: int) -> None:
        path = os.path.join(tmp_path, "output")
        token = TOKENS["github"].encode()
        filler = b"plain text\n" * (3 * outcomes.WINDOW // 11)
        content = filler[:at] + token + b" " + filler[at:]
        with open(path, "wb") as file:
            file.write(content)
        tail = outcomes.seal(str(tmp_path), ())
        with open(path, "rb") as file:
            sealed = file.read()
        assert sealed == content.replace(token, b"ghp_" + b"*" * 36)
        assert tail == content[-outcomes.TAIL :]

    def test_what_is_kept_for_the_database_is_masked_at_the_border_too(self, tmp_path: os.PathLike[str]) -> None:
        path = os.path.join(tmp_path, "output")
        token = TOKENS["openai"].encode()
        with open(path, "wb") as file:
            file.write(b"x" * 99 + b"\n" + token + b"\n" + b"y" * (outcomes.TAIL - 30))
        os.chmod(path, 0o400)
        tail = outcomes.seal(str(tmp_path), ())
        assert len(tail) == outcomes.TAIL and tail.startswith(b"*" * 29 + b"\ny")

    def test_an_output_that_is_somebody_elses_file_as_well_is_not_written_to(self, tmp_path: os.PathLike[str]) -> None:
        path, other = os.path.join(tmp_path, "output"), os.path.join(tmp_path, "precious")
        content = b"key " + TOKENS["github"].encode() + b"\n"
        with open(other, "wb") as file:
            file.write(content)
        os.link(other, path)
        assert outcomes.seal(str(tmp_path), ()) == b"key ghp_" + b"*" * 36 + b"\n"
        with open(other, "rb") as file:
            assert file.read() == content

    def test_links_and_pipes_are_neither_followed_nor_waited_for(self, tmp_path: os.PathLike[str]) -> None:
        path, other = os.path.join(tmp_path, "output"), os.path.join(tmp_path, "precious")
        with open(other, "wb") as file:
            file.write(TOKENS["github"].encode())
        os.symlink(other, path)
        assert (outcomes.seal(str(tmp_path), ()), outcomes.output_size(str(tmp_path))) == (b"", None)
        os.unlink(path)
        os.mkfifo(path)
        assert (outcomes.seal(str(tmp_path), ()), outcomes.open_output(path)) == (b"", None)
        os.unlink(path)
        os.mkdir(path)
        assert outcomes.seal(str(tmp_path), ()) == b""

    def test_a_hole_is_passed_over(self, tmp_path: os.PathLike[str]) -> None:
        """A keeper that was killed leaves the hole that it has punched, of whatever size."""
        path = os.path.join(tmp_path, "output")
        token = TOKENS["github"].encode()
        with open(path, "wb") as file:
            file.write(token)
            file.seek(200 * 1024**3)  # a hundred gigabytes and more would take an hour
            file.write(token + b"\n")
        assert outcomes.seal(str(tmp_path), ()).endswith(b"ghp_" + b"*" * 36 + b"\n")
        with open(path, "rb") as file:
            assert file.read(40) == b"ghp_" + b"*" * 36

    def test_it_is_left_alone_if_the_user_wants_that(self, tmp_path: os.PathLike[str]) -> None:
        path = os.path.join(tmp_path, "output")
        with open(path, "wb") as file:
            file.write(TOKENS["github"].encode())
        assert outcomes.seal(str(tmp_path), None) == TOKENS["github"].encode()
