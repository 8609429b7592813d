"""What uvicorn runs for `mmesid serve`: MLflow's scoring server, asked and answered through `Sentences`.

It is imported by this folder and imports nothing of mmesid: a model brings the code that it was registered with.
"""

import json
import os
import signal
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

MODEL = "MMESID_SERVED_MODEL"  # names the variable that holds the model's address
ECHOES = (  # around the whole request, which MLflow repeats, and repeats again
    ("Failed to predict data '", "'. \nError: "),
    ("Failed to enforce schema of data '", "'. Error: "),
)
LONGEST = 2000  # characters of a refusal
KINDS = ("inputs", "instances", "dataframe_records", "dataframe_split")
ELSEWHERE = ("/docs", "/docs/oauth2-redirect", "/redoc")  # pages that ask a server on the internet

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


def app() -> Application:
    """The server of the model that MMESID_SERVED_MODEL names. MLflow reads the seconds of a request from its own
    variable."""
    from mlflow.pyfunc import load_model, scoring_server

    stopping = signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nobody waits yet: uvicorn would load to the end first
    model = load_model(os.environ[MODEL])
    signal.signal(signal.SIGTERM, stopping)
    served = scoring_server.init(model)
    served.router.routes[:] = [route for route in served.router.routes if route.path not in ELSEWHERE]
    schema = model.metadata.get_params_schema()
    return Sentences(served, [parameter.name for parameter in schema.params] if schema else [])


class Sentences:
    """Refuses, in a sentence, requests that MLflow answers with status 500, or by leaving out what was asked.

    A request without `Content-Type` is JSON. What MLflow refuses is told without the request and without a traceback.

    Args:
        served: MLflow's application.
        parameters: names that a request may give below `params`.
    """

    def __init__(self, served: Application, parameters: Iterable[str]) -> None:
        self._served, self._parameters = served, tuple(parameters)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One connection, as ASGI has it."""
        if scope["type"] != "http" or (scope["method"], scope["path"]) != ("POST", "/invocations"):
            await self._served(scope, receive, send)
            return
        if (body := await _whole(receive)) is None:
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        kind, separator, rest = headers.get(b"content-type", "application/json").partition(";")
        kind, encoding = kind.strip().lower(), headers.get(b"content-encoding", "identity").strip().lower()
        if encoding != "identity":
            await _answer(
                send, 415, f"Content-Encoding is {encoding}: send the body as it is, neither packed nor coded"
            )
            return
        if kind == "application/json" and (reason := refused(body, self._parameters)):
            await _answer(send, 400, reason)
            return
        others = [(name, value) for name, value in scope["headers"] if name.lower() != b"content-type"]
        named = (b"content-type", f"{kind}{separator}{rest}".encode("latin-1"))
        await self._served({**scope, "headers": [*others, named]}, _again(body, receive), _told(send))


def refused(body: bytes, parameters: Iterable[str]) -> str:
    """Why a request in JSON has no answer, whatever the model; empty where MLflow shall read it.

    Args:
        body: of the request.
        parameters: names that may stand below `params`.
    """
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        return f"the body is no JSON that can be read: {error}" if body.strip() else "the body is empty"
    kinds = " or ".join(f"`{kind}`" for kind in KINDS)
    if not isinstance(asked, dict):
        return f'the body must be an object with {kinds}, like {{"inputs": [{{"history": ["a", "b"]}}]}}'
    if len([key for key in asked if key in KINDS]) != 1:
        return f"the body must have one of {kinds}; it has {_listed(asked)}"
    if unknown := [key for key in asked if key not in (*KINDS, "params", "signature_name")]:
        return f"the body has {_listed(unknown)}, which nothing reads: it may have one of {kinds}, and `params`"
    given = asked.get("params") or {}
    if isinstance(given, dict) and (unknown := [key for key in given if key not in parameters]):
        return f"`params` has {_listed(unknown)}, which nothing reads: it may have {_listed(parameters)}"
    return ""


def plain(body: bytes) -> bytes:
    """MLflow's refusal, without the request that it repeats (megabytes of a large one) and without its traceback."""
    try:
        told = json.loads(body)
        message = str(told["message"])
    except (ValueError, KeyError, TypeError):
        return body  # text already
    told.pop("stack_trace", None)
    for begin, end in ECHOES:
        if message.startswith(begin) and end in message:
            message = message.rpartition(end)[2]
    return json.dumps({**told, "message": message[:LONGEST]}).encode()


def _listed(names: Iterable[str], shown: int = 5) -> str:
    quoted = [f"`{name[:40]}`" for name in names]
    return ", ".join(quoted[:shown]) + (" ..." if len(quoted) > shown else "") or "none"


async def _whole(receive: Receive) -> bytes | None:
    """The body of a request, None where the client has gone before its end."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that was read, to be read by the next; then what the client does."""
    left = [body]

    async def given() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return given


def _told(send: Send) -> Send:
    """What MLflow sends; its refusals are gathered, and sent as `plain` has them."""
    start: list[Message] = []
    parts: list[bytes] = []

    async def tell(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 400:
            start.append(message)
        elif not start:
            await send(message)
        else:
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                await _reply(send, 400, plain(b"".join(parts)))

    return tell


async def _answer(send: Send, status: int, reason: str) -> None:
    """A refusal, in MLflow's words."""
    await _reply(send, status, json.dumps({"error_code": "INVALID_PARAMETER_VALUE", "message": reason}).encode())


async def _reply(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
