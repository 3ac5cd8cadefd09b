# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Import a WSGI or ASGI callable in the app's own Python and call a path in the process.

``SCRIPT`` is what the app's interpreter runs; it needs nothing but the standard library, and any Python 3.8 or later.
"""

from __future__ import annotations

import json

MARK = "webstack-probe:"

SCRIPT = r'''
import importlib, inspect, io, json, os, re, signal, sys, traceback

MARK = "webstack-probe:"


class TooLong(BaseException):
    pass


def report(**fields):
    sys.stdout.flush()
    os.write(1, ("\n" + MARK + json.dumps(fields) + "\n").encode())
    # Not sys.exit: threads that the app has started must not hold the answer back.
    os._exit(0)


def broken(stage, error):
    frames = [
        {"file": frame.filename, "line": frame.lineno, "name": frame.name, "code": (frame.line or "")[:200]}
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and "importlib" not in frame.filename and not frame.filename.startswith("<")
    ]
    if isinstance(error, SyntaxError) and error.filename:
        frames.append({"file": error.filename, "line": error.lineno or 0, "name": "",
                       "code": (error.text or "").strip()})
    report(ok=False, stage=stage, type=type(error).__name__, message=str(error)[:2000], frames=frames[-3:],
           missing=getattr(error, "name", None) or "")


def may_be_an_app(name, value, module):
    try:
        return (callable(value) and not inspect.isclass(value) and not name.startswith("_")
                and (getattr(value, "__module__", None) == module.__name__ or hasattr(value, "wsgi_app")
                     or name in ("app", "application")))
    except Exception:  # flask.request, for one, answers no question outside of a request
        return False


def candidates(module):
    return sorted(name for name, value in vars(module).items() if may_be_an_app(name, value, module))[:8]


def main(options):
    sys.path.insert(0, options["directory"])
    os.chdir(options["directory"])
    sys.argv = ["webstack-probe"]

    def too_long(_number, _frame):
        raise TooLong

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(int(options.get("import_timeout", 90)))
    name, _colon, attribute = options["callable"].partition(":")
    attribute = attribute or "application"
    try:
        module = importlib.import_module(name)
    except TooLong:
        report(ok=False, stage="import", type="Timeout", message="the import takes more than %s s"
               % options.get("import_timeout", 90), frames=[], missing="")
    except BaseException as error:
        broken("import", error)
    call = re.fullmatch(r"(\w+)\(\)", attribute)
    target = module
    try:
        for part in (call[1] if call else attribute).split("."):
            target = getattr(target, part)
    except AttributeError:
        report(ok=False, stage="callable", type="AttributeError", frames=[], missing="", candidates=candidates(module),
               message="%s (%s) has no %r" % (name, getattr(module, "__file__", ""), attribute))
    try:
        if call:
            target = target()
    except TooLong:
        report(ok=False, stage="import", type="Timeout", message="%s takes too long" % attribute, frames=[], missing="")
    except BaseException as error:
        broken("import", error)
    if not callable(target):
        report(ok=False, stage="callable", type="TypeError", frames=[], missing="", candidates=candidates(module),
               message="%r is of type %s, which cannot be called" % (attribute, type(target).__name__))
    signal.alarm(0)
    entry = target if inspect.isroutine(target) else getattr(type(target), "__call__", target)
    asgi = inspect.iscoroutinefunction(entry)
    if options.get("asgi") not in (None, asgi):
        report(ok=False, stage="kind", type="", asgi=asgi, message="", frames=[], missing="")
    if not options.get("path"):
        report(ok=True, stage="import", asgi=asgi, status=0)
    (ask_asgi if asgi else ask)(target, options)


def ask(target, options):
    https = bool(options.get("https"))
    path, _mark, query = options["path"].partition("?")
    answer = {}

    def start_response(status, headers, exc_info=None):
        answer["status"] = status
        return lambda data: None

    environ = {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": query, "CONTENT_LENGTH": "",
        "CONTENT_TYPE": "", "SERVER_NAME": options["host"], "SERVER_PORT": "443" if https else "80",
        "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_HOST": options["host"], "REMOTE_ADDR": "127.0.0.1",
        "HTTP_USER_AGENT": "webstack-health", "HTTP_X_FORWARDED_PROTO": "https" if https else "http",
        "HTTP_X_REAL_IP": "127.0.0.1", "REQUEST_URI": options["path"], "RAW_URI": options["path"],
        "wsgi.version": (1, 0), "wsgi.url_scheme": "https" if https else "http", "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr, "wsgi.multithread": True, "wsgi.multiprocess": True, "wsgi.run_once": False,
    }
    signal.alarm(max(1, int(options["timeout"])))
    try:
        body = target(environ, start_response)
        chunks = []
        for number, chunk in enumerate(body):
            chunks.append(chunk)
            if number > 1000:
                break
        if hasattr(body, "close"):
            body.close()
    except TooLong:
        report(ok=False, stage="health", type="Timeout", frames=[], missing="",
               message="no answer within %s s" % options["timeout"])
    except BaseException as error:
        broken("health", error)
    signal.alarm(0)
    status = int(str(answer.get("status", "0")).split(" ")[0])
    text = b"".join(chunks).decode(errors="replace")
    missing = [word for word in options.get("contains", []) if word not in text]
    if status in options["status"] and missing:
        report(ok=False, stage="content", status=status, type="", frames=[], missing=missing[0], message=text[:300])
    report(ok=status in options["status"], stage="health", status=status, type="", frames=[], missing="",
           message="answered %s" % answer.get("status", "nothing"))


class Refused(Exception):
    pass


def ask_asgi(target, options):
    import asyncio

    def said(status):
        report(ok=status in options["status"], stage="health", status=status, type="", frames=[], missing="",
               message="answered %s" % (status or "nothing"))

    def limit(seconds, then):
        # The loop would swallow an exception that comes at the wrong moment: this ends the process by itself.
        signal.signal(signal.SIGALRM, lambda _number, _frame: then())
        signal.alarm(max(1, int(seconds)))

    async def run():
        state, inbox, refused = {}, asyncio.Queue(), []
        up, down = asyncio.Event(), asyncio.Event()

        async def lifespan_send(message):
            if message["type"] == "lifespan.startup.failed":
                refused.append(Refused(message.get("message") or "it does not say why"))
            (down if message["type"].startswith("lifespan.shutdown") else up).set()

        async def lifespan():
            version = {"version": "3.0", "spec_version": "2.4"}
            try:
                await target({"type": "lifespan", "asgi": version, "state": state}, inbox.get, lifespan_send)
            except Exception as error:
                if refused:
                    refused.append(error)
                # else an app that knows no lifespan
            finally:
                up.set()
                down.set()

        seconds = options.get("import_timeout", 90)
        limit(seconds, lambda: report(ok=False, stage="import", type="Timeout", frames=[], missing="",
                                      message="the start (ASGI lifespan) takes more than %s s" % seconds))
        inbox.put_nowait({"type": "lifespan.startup"})
        life = asyncio.ensure_future(lifespan())
        await up.wait()
        if refused:
            await asyncio.wait([life], timeout=2)
            raise refused[-1]
        limit(options["timeout"], lambda: report(ok=False, stage="health", type="Timeout", frames=[], missing="",
                                                 message="no answer within %s s" % options["timeout"]))
        status = await answer(target, options, state)
        limit(10, lambda: said(status))
        if not life.done():
            inbox.put_nowait({"type": "lifespan.shutdown"})
            await down.wait()
        return status

    async def answer(target, options, state):
        https = bool(options.get("https"))
        path, _mark, query = options["path"].partition("?")
        headers = {"host": options["host"], "user-agent": "webstack-health", "x-real-ip": "127.0.0.1",
                   "x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "https" if https else "http"}
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": "GET",
            "scheme": "https" if https else "http", "path": path, "raw_path": path.encode(),
            "query_string": query.encode(), "root_path": "", "client": ("127.0.0.1", 0),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "server": (options["host"], 443 if https else 80), "state": dict(state),
        }
        status, inbox = [0], [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive():
            if not inbox:
                await asyncio.sleep(3600)  # the client stays
            return inbox.pop()

        async def send(message):
            if message["type"] == "http.response.start":
                status[0] = message["status"]

        await target(scope, receive, send)
        return status[0]

    try:
        status = asyncio.run(run())
    except Refused as error:
        report(ok=False, stage="import", type="lifespan.startup.failed", message=str(error)[-2000:], frames=[],
               missing="")
    except BaseException as error:
        broken("health", error)
    said(status)


with open(sys.argv[1]) as stream:
    OPTIONS = json.load(stream)
main(OPTIONS)
'''


def wants_asgi(server: str, settings: dict) -> bool | None:
    """Tell whether the server is set up for an ASGI app; None where it cannot be known, for a worker of the user's."""
    worker = str(settings.get("worker_class") or "")
    if server == "uwsgi" or server == "gunicorn" and worker in ("sync", "gthread", "gevent", "eventlet", "tornado"):
        return False
    return True if server == "gunicorn" and (worker == "asgi" or "uvicorn" in worker) else None


def read_report(output: str) -> dict | None:
    """Return what the script reported in ``output``, or None where it did not get that far."""
    for line in reversed(output.splitlines()):
        if line.startswith(MARK):
            try:
                return json.loads(line[len(MARK):])
            except ValueError:
                return None
    return None


def explain(report: dict, origin: str, target: str, health: dict) -> str:
    """Say what is wrong, in which variable of the user's, and what to write instead."""
    frames = report.get("frames") or []
    last = frames[-1] if frames else None
    where = f" at {last['file']}:{last['line']}" if last else ""
    if last and last.get("code"):
        where += f" ({last['code']})"
    kind, message, module = report["type"], report["message"], target.partition(":")[0]
    if report["stage"] == "kind":
        if report["asgi"]:
            return (f"{origin}.callable {target!r} is an ASGI app, and the server is set up for WSGI. Write "
                    f"`server: gunicorn` and `settings: {{worker_class: asgi}}`.")
        return (f"{origin}.settings.worker_class is for ASGI, and {target!r} is a WSGI app. Leave `worker_class` out, "
                f"or write the `callable` of an ASGI app.")
    if report["stage"] == "callable":
        hint = ""
        if report.get("candidates"):
            hint = f" Write one that is there, for example `callable: {module}:{report['candidates'][0]}`."
        return f"{origin}.callable is {target!r}: {message}.{hint or ' Write `callable: MODULE:NAME` of the app.'}"
    if report["stage"] == "content":
        return (f"{origin}.health.contains: the answer of {health['path']!r} does not have {report['missing']!r}. Is "
                f"this the version that was to be deployed? The answer begins:\n{message}")
    if report["stage"] == "health":
        if kind:
            return f"{origin}.health.path {health['path']!r}: the app raises {kind}: {message}{where}." \
                if kind != "Timeout" else (
                    f"{origin}.health.path {health['path']!r}: {message}. Mend the app, or write a path that answers "
                    f"sooner, or a longer `timeout` there.")
        hint = (" A 400 of Django is often a host name that it does not know: see ALLOWED_HOSTS, and the site's "
                "server_names." if report.get("status") == 400 else "")
        wanted = ", ".join(str(status) for status in health["status"])
        return (f"{origin}.health.path {health['path']!r}: the app {message}, and should answer {wanted}. Mend the "
                f"app, or write a path that answers so, or the status that is right in `health.status`.{hint}")
    missing = report.get("missing") or ""
    if kind == "ModuleNotFoundError" and (missing == module or module.startswith(missing + ".")):
        return (f"{origin}.callable is {target!r}, and there is no module {missing!r} in the app's folder or "
                f"environment. Write `callable: MODULE:NAME`, and the folder that holds the module in "
                f"{origin}.directory.")
    if kind == "ModuleNotFoundError":
        return (f"{origin}.requirements: the app imports {missing!r}{where}, which is not installed. Add the package "
                f"to the requirements.")
    if kind == "KeyError" and last and "environ" in f"{last['file']} {last.get('code')}" or (
            kind == "KeyError" and any("environ" in str(frame.get("code")) for frame in frames)):
        return f"{origin}.env: the app wants the variable {message}{where}. Write it there."
    return f"{origin}.callable {target!r} cannot be imported: {kind}: {message}{where}. Mend the app's source."
