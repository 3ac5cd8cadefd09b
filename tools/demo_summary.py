#!/usr/bin/env python3
"""Ask every address of the demo, and print what to open and the way that a request takes. Exits 1 if one is silent."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

PICTURE = """
  you ──HTTP──▶ edge1 (nginx, Debian 13)
                 │  :80  /            the built Vue site, from edge1's own disk
                 │  :80  /static/     Django's static files, from edge1's own disk
                 │  :80  /api/ /admin/ /guestbook/ /media/
                 │        └──HTTP──▶ app1 (Debian 13)  Gunicorn ▶ Django ──▶ app2  PostgreSQL
                 │  :8080 /
                 │        ├──uwsgi─▶ app1 (Debian 13)  uWSGI ▶ Flask (httpbin)
                 │        └──uwsgi─▶ app2 (Debian 12)  uWSGI ▶ Flask (httpbin)
"""


def ask(url: str) -> str:
    """Return what the address answers, in a few words; raises OSError where it does not answer well."""
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 (an address of the demo)
        body = answer.read()
        if answer.headers.get_content_type() == "application/json":
            content = json.loads(body)
            if "status" in content:
                return f"{answer.status}, version {content.get('version')}, {content.get('entries')} entries"
        return f"{answer.status}, {len(body)} bytes of {answer.headers.get_content_type()}"


def main() -> int:
    edge = f"{(ROOT / '.cache/hosts/subnet').read_text(encoding='utf-8').strip()}.11"
    rows = [
        (f"http://{edge}/", "Vue, reading from Django"),
        (f"http://{edge}/guestbook/", "a page by Django, with a form and static files"),
        (f"http://{edge}/admin/login/", "Django's admin"),
        (f"http://{edge}/api/health/", "Django, asking PostgreSQL"),
        (f"http://{edge}:8080/get", "httpbin, a Flask app, on two hosts"),
    ]
    silent = 0
    print(PICTURE)
    print(f"  {'open':40} {'what it is':48} it answers")
    for url, what in rows:
        try:
            says = ask(url)
        except (OSError, ValueError) as error:
            says, silent = f"NOTHING GOOD: {error}", silent + 1
        print(f"  {url:40} {what:48} {says}")
    print("\n  Look inside:  tools/testhosts.py ssh edge1 cat /etc/nginx/webstack/sites/guestbook.conf")
    print("                tools/testhosts.py ssh app1 systemctl status 'webstack-*'")
    print("  Again:        make demo      Away with it:  make clean")
    return 1 if silent else 0


if __name__ == "__main__":
    sys.exit(main())
