"""An app that tries what it is told to try, and says what came of it."""

import os
import socket

from flask import Flask, request

app = Flask(__name__)


def _tell(attempt):
    try:
        return {"done": True, "said": attempt()}
    except OSError as error:
        return {"done": False, "said": f"{type(error).__name__}: {error}"}


@app.get("/")
def index():
    return {"release": os.environ["WEBSTACK_RELEASE"]}


@app.post("/echo")
def echo():
    return request.get_data()


@app.get("/write")
def write():
    def attempt():
        with open(request.args["path"], "w", encoding="utf-8") as stream:
            return stream.write("x")
    return _tell(attempt)


@app.get("/read")
def read():
    def attempt():
        with open(request.args["path"], encoding="utf-8", errors="replace") as stream:
            return stream.read(100)
    return _tell(attempt)


@app.get("/list")
def list_():
    return _tell(lambda: os.listdir(request.args["path"]))


@app.get("/connect")
def connect():
    def attempt():
        where = request.args["host"], int(request.args["port"])
        with socket.create_connection(where, 3) as connection:
            return str(connection.getpeername())
    return _tell(attempt)
