"""What stands between a request and MLflow's scoring server."""

import ast
import asyncio
import json
from typing import Any

import pytest

from mmesid.serving import SCORING
from mmesid.serving.http.scoring import LONGEST, Sentences, plain, refused

ASKED = {"inputs": [{"history": ["a"]}], "params": {"k": 3}}
TYPE = (b"content-type", b"application/json")


def test_it_imports_nothing_of_the_project() -> None:
    """The model's own code is loaded, so long as no other was."""
    for node in ast.walk(ast.parse(SCORING.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        assert not [name for name in names if name.startswith("mmesid")]


def test_what_mlflow_reads_is_let_through() -> None:
    for kind in ("inputs", "instances", "dataframe_records"):
        assert refused(json.dumps({kind: [{"history": ["a"]}]}).encode(), ["k"]) == ""
    for params in ({}, None, {"k": 3}, {"k": "x"}, [3]):
        assert refused(json.dumps({**ASKED, "params": params}).encode(), ["k"]) == ""
    assert refused(json.dumps(ASKED).encode("utf-16"), ["k"]) == ""


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the body is empty"),
        (b"{", "the body is no JSON that can be read: Expecting property name"),
        (b"\xff\xfe\x00", "the body is no JSON that can be read: "),
        (b"[" * 100_000, "maximum recursion depth exceeded"),
        (b'{"inputs": ' + b"1" * 5000 + b"}", "Exceeds the limit"),
        (b"[1]", "the body must be an object with `inputs` or"),
        (b"{}", "the body must have one of `inputs` or"),
        (json.dumps({**ASKED, "instances": []}).encode(), "it has `inputs`, `params`, `instances`"),
        (json.dumps({**ASKED, "k": 3}).encode(), "the body has `k`, which nothing reads"),
        (json.dumps({**ASKED, "params": {"K": 3}}).encode(), "`params` has `K`, which nothing reads: it may have `k`"),
    ],
)
def test_what_would_be_a_500_or_be_left_out_is_refused_with_the_reason(body: bytes, reason: str) -> None:
    assert reason in refused(body, ["k"])


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("Failed to predict data '[{'history': ['x']}]'. \nError: history 0 is empty", "history 0 is empty"),
        (
            "Failed to predict data '[{}]'. \nError: Failed to enforce schema of data '[{}]' with schema "
            "'['history': Any (required)]'. Error: Model is missing inputs ['history'].",
            "Model is missing inputs ['history'].",
        ),
        ("another", "another"),
        ("x" * 5000, "x" * LONGEST),
    ],
)
def test_a_refusal_of_mlflow_is_told_without_the_request(message: str, told: str) -> None:
    body = json.dumps({"error_code": "BAD_REQUEST", "message": message, "stack_trace": "Traceback"}).encode()
    assert json.loads(plain(body)) == {"error_code": "BAD_REQUEST", "message": told}


def test_a_refusal_that_is_no_json_stays_as_it_is() -> None:
    assert plain(b"only UTF-8") == b"only UTF-8"


def ask(body: bytes, *headers: tuple[bytes, bytes], path: str = "/invocations") -> tuple[int, bytes, list[Any]]:
    """Status and body of an answer, and what the server behind was asked: headers and body.

    The server answers 400 with the body that it got, in two parts.
    """
    given = [{"type": "http.request", "body": body[:3], "more_body": True}, {"type": "http.request", "body": body[3:]}]
    asked: list[Any] = []
    sent: list[Any] = []

    async def receive() -> Any:
        return given.pop(0) if given else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async def served(scope: Any, receive: Any, send: Any) -> None:
        asked.append((dict(scope["headers"]), (await receive())["body"]))
        await send({"type": "http.response.start", "status": 400, "headers": []})
        await send({"type": "http.response.body", "body": asked[-1][1][:5], "more_body": True})
        await send({"type": "http.response.body", "body": asked[-1][1][5:]})

    scope = {"type": "http", "method": "POST", "path": path, "headers": list(headers)}
    asyncio.run(Sentences(served, ["k"])(scope, receive, send))
    return sent[0]["status"], b"".join(message["body"] for message in sent[1:]), asked


@pytest.mark.parametrize("headers", [[], [TYPE], [(b"Content-Type", b"Application/JSON")]])
def test_a_request_is_json_by_any_spelling_of_its_type_and_without_one(headers: list[tuple[bytes, bytes]]) -> None:
    body = json.dumps({"inputs": [], "params": {}}).encode()
    status, told, asked = ask(body, *headers, (b"x", b"y"))
    assert (status, told) == (400, body)
    assert asked == [({b"x": b"y", b"content-type": b"application/json"}, body)]


def test_a_packed_body_is_refused_and_a_bad_one_reaches_nobody() -> None:
    status, told, asked = ask(b"\x1f\x8b..", TYPE, (b"content-encoding", b"gzip"))
    assert (status, asked) == (415, [])
    assert json.loads(told)["message"].startswith("Content-Encoding is gzip: send the body as it is")
    status, told, asked = ask(b"{", TYPE)
    assert (status, asked) == (400, [])
    assert "no JSON" in json.loads(told)["message"]


def test_other_kinds_and_paths_are_mlflows() -> None:
    assert ask(b"history", (b"content-type", b"text/csv; charset=utf-8"))[2] == [
        ({b"content-type": b"text/csv; charset=utf-8"}, b"history")
    ]
    assert ask(b"{", path="/ping")[2] == [({}, b"{"[:3])]
