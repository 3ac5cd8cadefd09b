"""The small app of tests/reliability/app once more, as plain ASGI, with a WebSocket that echoes."""

import asyncio
import json
import os
from pathlib import Path
from urllib.parse import parse_qs

import behaviour

VERSION = (Path(__file__).parent / "VERSION").read_text(encoding="utf-8").strip()


def answer(text):
    return json.dumps({"version": VERSION, "release": os.environ.get("WEBSTACK_RELEASE", ""), "text": text,
                       "pid": os.getpid(), "colour": os.environ.get("COLOUR", "")})


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
    elif scope["type"] == "websocket":
        await echo(receive, send)
    else:
        status, text = await page(scope, receive)
        await send({"type": "http.response.start", "status": status,
                    "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(text))]})
        await send({"type": "http.response.body", "body": text})


async def page(scope, receive):
    asked = {key: values[0] for key, values in parse_qs(scope["query_string"].decode()).items()}
    text = asked.get("text", "")
    if scope["path"] == "/health":
        said = behaviour.health(VERSION)
        return (200, said.encode()) if isinstance(said, str) else (said[1], said[0].encode())
    if scope["path"] == "/slow":
        await asyncio.sleep(min(float(asked.get("seconds", 5)), 60))
    elif scope["path"] not in ("/", "/echo"):
        return 404, b"nothing"
    if scope["method"] == "POST":
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        text = body.decode()
    return 200, answer(text).encode()


async def echo(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": answer(message.get("text") or message["bytes"].decode())})


behaviour.started(app)
