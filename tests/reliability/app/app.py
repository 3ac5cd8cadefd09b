"""A small app for tests under traffic: it echoes, can be slow, and tells with each answer which release it is.

`behaviour.py` is where a test writes what is wrong with a release.
"""

import os
import time
from pathlib import Path

import behaviour
from flask import Flask, jsonify, request

app = Flask(__name__)
HERE = Path(__file__).parent
# Read once, at the start: what is told is the code that runs, not what lies on the disk.
VERSION = (HERE / "VERSION").read_text(encoding="utf-8").strip()
RELEASE = os.environ.get("WEBSTACK_RELEASE", "")


def answer(text):
    return jsonify(version=VERSION, release=RELEASE, text=text, pid=os.getpid(), colour=os.environ.get("COLOUR", ""))


@app.get("/")
def home():
    return answer("home")


@app.route("/echo", methods=["GET", "POST"])
def echo():
    return answer(request.get_data(as_text=True) if request.method == "POST" else request.args.get("text", ""))


@app.get("/slow")
def slow():
    time.sleep(min(float(request.args.get("seconds", 5)), 60))
    return answer(request.args.get("text", ""))


@app.get("/health")
def health():
    return behaviour.health(VERSION)


behaviour.started(app)
