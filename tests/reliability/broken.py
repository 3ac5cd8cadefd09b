"""Releases that are broken, one kind after the other: none may ever serve a request. A table: `BROKEN`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from scenarios import GOOD_BEHAVIOUR, IN_SERVER

#: what messages name
CALLABLE, REQUIREMENTS, HEALTH = "{app}.callable", "{app}.requirements", "{app}.health.path"
SICK = GOOD_BEHAVIOUR.replace('f"well, version {version}\\n"', '("sick", 500)')
#: a hook of the worker: Flask asks it before each request
BEFORE_REQUEST = IN_SERVER.replace("    pass", '''
    @app.before_request
    def first():
        if not TRIAL:
            CODE
''')
APP = "from flask import Flask\n\napp = Flask(__name__)\n"


@dataclass
class Broken:
    """One kind of broken: files of the source, changes of the app's settings, and what the message has to name."""

    name: str
    files: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)
    named: tuple[str, ...] = ()
    server: str = ""  # only there
    framework: str = "flask"
    slow: bool = False  # takes minutes, because it runs into a time limit of the product


def code(text: str) -> dict[str, str]:
    """Return a source whose import does this."""
    return {"behaviour.py": text + "\n" + GOOD_BEHAVIOUR}


def in_server(text: str) -> dict[str, str]:
    """Return a source that does this in the server alone: the import by itself goes well."""
    return {"behaviour.py": IN_SERVER + f"\nif not TRIAL:\n    {text}\n"}


BROKEN = [
    Broken("an exception at import", code("raise RuntimeError('boom')"), named=(CALLABLE, "boom")),
    Broken("a syntax error", code("def oh no(:"), named=(CALLABLE, "SyntaxError")),
    Broken("a package that is not installed", code("import not_there"), named=(REQUIREMENTS, "not_there")),
    Broken("a module of its own that is missing", {"behaviour.py": None}, named=("behaviour",)),
    Broken("a callable that does not exist", {}, {"callable": "app:application"}, (CALLABLE, "app:app")),
    Broken("a callable that cannot be called", {"app.py": "app = 'no app'\n"}, named=(CALLABLE, "called")),
    Broken("a module that does not exist", {}, {"callable": "nowhere:app"}, (CALLABLE, "nowhere")),
    Broken("health: status 500", {"behaviour.py": SICK}, named=(HEALTH, "500")),
    Broken("health: status 404", {}, {"health": {"path": "/nowhere"}}, (HEALTH, "404")),
    Broken("health: an exception", {"behaviour.py": SICK.replace("return", "raise ValueError")},
           named=(HEALTH,)),
    Broken("health: no answer in time", {"behaviour.py": GOOD_BEHAVIOUR.replace(
        "    return", "    import time\n    time.sleep(60)\n    return")},
        {"health": {"timeout": 3}}, (HEALTH, "3 s")),
    Broken("health: another content than is wanted", {}, {"health": {"contains": ["all is well"]}},
           ("{app}.health.contains",)),
    Broken("another version than was deployed", {"behaviour.py": GOOD_BEHAVIOUR.replace("version {version}", "v0")},
           {"health": {"contains": ["{release}"]}}, ("{app}.health.contains",)),
    Broken("sys.exit at import", code("import sys\nsys.exit(0)"), named=(CALLABLE,)),
    Broken("os._exit at import", code("import os\nos._exit(0)"), named=(CALLABLE, "ended")),
    Broken("os._exit at the server's start", in_server("__import__('os')._exit(1)"), named=("{app}",)),
    Broken("an exception at the server's start", in_server("raise RuntimeError('no luck')"),
           named=("{app}", "no luck")),
    Broken("dies at the first request", {"behaviour.py": BEFORE_REQUEST.replace("CODE", "__import__('os')._exit(1)")},
           named=("{app}",)),
    Broken("an exception at each request", {
        "behaviour.py": BEFORE_REQUEST.replace("CODE", "raise RuntimeError('no luck')")}, named=(HEALTH,)),
    Broken("not allowed to write", code("open('/srv/webstack/apps/shop/note.txt', 'w')"),
           named=(CALLABLE, "note.txt")),
    Broken("not allowed to write to its own folder", code("open('note.txt', 'w')"), named=(CALLABLE, "note.txt")),
    Broken("a variable that is missing", code("import os\nos.environ['PAYMENT_KEY']"),
           named=("{app}.env", "PAYMENT_KEY")),
    Broken("a file that is missing", code("open('settings.toml')"), named=(CALLABLE, "settings.toml")),
    Broken("a source in another encoding", {
        "behaviour.py": "NAME = 'caf\xe9'\n".encode("latin-1") + GOOD_BEHAVIOUR.encode()},
        named=(CALLABLE, "utf-8")),
    Broken("a port that is taken", code("import socket\nsocket.create_server(('127.0.0.1', 22))"),
           named=(CALLABLE,)),
    Broken("a segmentation fault at import", code("import ctypes\nctypes.string_at(0)"), named=(CALLABLE, "ended")),
    Broken("killed by the syscall filter", code(
        "import os, signal\nos.kill(os.getpid(), signal.SIGSYS)"), named=(CALLABLE, "ended")),
    Broken("an infinite recursion", code("def again():\n    return again()\nagain()"), named=(CALLABLE,)),
    Broken("an endless loop at import", code("while True:\n    pass"), named=(CALLABLE, "takes more than"),
           slow=True),
    Broken("hangs at the server's start", in_server("__import__('time').sleep(3600)"), named=("{app}",), slow=True),
    Broken("forks, and the child hangs", code(
        "import os, time\nif not os.fork():\n    time.sleep(30)\n    os._exit(0)\nraise RuntimeError('forked')"),
        named=(CALLABLE,)),
    Broken("a requirement that does not exist", {"requirements.txt": "flask==3.1.2\nsurely-not-a-package==99.99\n"},
           named=(REQUIREMENTS, "surely-not-a-package")),
    Broken("requirements that contradict each other", {"requirements.txt": "flask==3.1.2\nwerkzeug==1.0.1\n"},
           named=(REQUIREMENTS, "werkzeug")),
    Broken("requirements that are no requirements", {"requirements.txt": "flask==3.1.2\n!!! what\n"},
           named=(REQUIREMENTS,)),
    Broken("a requirements file that is missing", {}, {"requirements": "nowhere.txt"},
           (REQUIREMENTS, "nowhere.txt")),
    Broken("a server setting that does not exist", {}, {"settings": {"extra": {"surely-no-option": 1}}},
           ("{app}.settings",), server="uwsgi"),
    Broken("a server setting that does not exist", {}, {"settings": {"extra": {"worker_connections": "many"}}},
           ("{app}.settings",), server="gunicorn"),
    Broken("a worker class that is not there", {}, {"settings": {"worker_class": "nowhere.Worker"}},
           ("{app}",), server="gunicorn"),
    Broken("a folder that is not in the source", {}, {"directory": "nowhere"}, ("{app}.directory",)),
    # Django's own
    Broken("settings that cannot be imported", {"reliability_settings.py": "import not_there\n"},
           named=("not_there",), framework="django"),
    Broken("settings that are not there", {}, {"settings_module": "nowhere.settings"}, ("{app}.settings_module",),
           framework="django"),
    Broken("DEBUG is on", {}, {"env": {"DJANGO_DEBUG": "1"}}, ("{app}.settings_module", "DEBUG"), framework="django"),
    Broken("a database that cannot be reached", {}, {"env": {
        "DATABASE_URL": "postgres://guestbook:x@127.0.0.1:1/guestbook"}}, ("{app}.env",), framework="django"),
    Broken("a password that is wrong", {}, {"env": {
        "DATABASE_URL": "postgres://guestbook:not-the-password@127.0.0.1/guestbook"}}, ("{app}.env",),
        framework="django"),
    Broken("a secret that is missing", {}, {"env": {"DJANGO_SECRET_KEY": ""}}, ("DJANGO_SECRET_KEY",),
           framework="django"),
    Broken("a migration that fails", {"entries/migrations/0003_bad.py": (
        "from django.db import migrations\n\n\ndef fail(apps, schema_editor):\n    raise RuntimeError('it fails')\n\n\n"
        "class Migration(migrations.Migration):\n    dependencies = [('entries', '0002_first_entry')]\n"
        "    operations = [migrations.RunPython(fail, migrations.RunPython.noop)]\n")}, named=("it fails",),
        framework="django"),
    Broken("two migrations after the same one", {f"entries/migrations/0003_{name}.py": (
        "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n"
        "    dependencies = [('entries', '0002_first_entry')]\n    operations = []\n") for name in ("a", "b")},
        named=("entries",), framework="django"),
    Broken("a template of the static files that is missing", {"entries/static/entries/bad.css": (
        "body { background: url('nowhere.png') }\n")}, named=("nowhere.png",), framework="django"),
    Broken("a URL pattern that cannot be imported", {"guestbook/urls.py": "import not_there\n"},
           named=("not_there",), framework="django"),
]


def kinds(framework: str, server: str, slow: bool = True) -> list[Broken]:
    """Return what is tried there."""
    return [kind for kind in BROKEN if kind.framework == framework and kind.server in ("", server)
            and (slow or not kind.slow)]
