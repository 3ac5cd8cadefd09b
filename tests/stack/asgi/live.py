"""A plain ASGI app: it says what it sees, echoes over a WebSocket, and takes its time to start."""

import asyncio
import json
import os

VERSION = os.environ.get("VERSION", "0")


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
    elif scope["type"] == "websocket":
        await echo(scope, receive, send)
    else:
        await page(scope, receive, send)


async def lifespan(scope, receive, send):
    await receive()
    await asyncio.sleep(float(os.environ.get("STARTS_FOR", "0")))
    if os.environ.get("STARTS_NOT"):
        await send({"type": "lifespan.startup.failed", "message": "no queue to read from"})
        return
    scope["state"]["started"] = True
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def page(scope, receive, send):
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    if scope["path"] == "/slow":
        await asyncio.sleep(5)
    query = dict(item.split("=", 1) for item in scope["query_string"].decode().split("&") if "=" in item)
    answer = {"version": VERSION, "client": (scope.get("client") or [""])[0], "scheme": scope["scheme"],
              "started": scope["state"].get("started", False), "text": body.decode() or query.get("text", "")}
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


async def echo(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] != "websocket.receive":
            return
        answer = {"version": VERSION, "client": scope["client"][0], "scheme": scope["scheme"], "text": message["text"]}
        await send({"type": "websocket.send", "text": json.dumps(answer)})
