"""Echoes, as in tests/reliability/app; those with a body ask the database too."""

import os
import time

import behaviour
from django.conf import settings
from django.http import HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from entries.models import Entry
from guestbook.urls import urlpatterns as of_the_guestbook

RELEASE = os.environ.get("WEBSTACK_RELEASE", "")


def answer(text, **more):
    return JsonResponse({"version": settings.VERSION, "release": RELEASE, "text": text, "pid": os.getpid(),
                         "colour": os.environ.get("COLOUR", ""), **more})


@csrf_exempt
def echo(request):
    if request.method == "POST":
        return answer(request.body.decode(), entries=Entry.objects.count())
    return answer(request.GET.get("text", ""))


def slow(request):
    time.sleep(min(float(request.GET.get("seconds", 5)), 60))
    return answer(request.GET.get("text", ""))


def health(request):
    Entry.objects.count()
    said = behaviour.health(settings.VERSION)
    return HttpResponse(said) if isinstance(said, str) else HttpResponse(said[0], status=said[1])


urlpatterns = [path("api/echo", echo), path("api/slow", slow), path("api/well", health), *of_the_guestbook]
behaviour.started(None)
