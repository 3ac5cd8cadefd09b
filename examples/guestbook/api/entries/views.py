import json
import logging

from django.conf import settings
from django.db import Error as DatabaseError
from django.http import JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from .forms import EntryForm
from .models import Entry

logger = logging.getLogger(__name__)
PAGE_SIZE = 100


def bad_request(errors):
    return JsonResponse({"errors": errors}, status=400)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def entries(request):
    if request.method != "POST":
        return JsonResponse([entry.as_json() for entry in Entry.objects.all()[:PAGE_SIZE]], safe=False)
    data = request.POST
    if request.content_type == "application/json":
        try:
            data = json.loads(request.body)
        except ValueError:
            return bad_request({"__all__": ["This is not valid JSON."]})
        if not isinstance(data, dict):
            return bad_request({"__all__": ["A JSON object is expected."]})
    form = EntryForm(data, request.FILES)
    if not form.is_valid():
        return bad_request(form.errors)
    return JsonResponse(form.save().as_json(), status=201)


@never_cache
@require_safe
def entry(request, entry_id):
    return JsonResponse(get_object_or_404(Entry, pk=entry_id).as_json())


@never_cache
@require_safe
def csrf(request):
    return JsonResponse({"csrfToken": get_token(request)})  # get_token also sets the cookie


@never_cache
@require_safe
def health(request):
    try:
        count = Entry.objects.count()
    except DatabaseError:
        logger.exception("The health check cannot read the database")
        return JsonResponse({"status": "error", "version": settings.VERSION, "entries": None}, status=500)
    return JsonResponse({"status": "ok", "version": settings.VERSION, "entries": count})


@require_http_methods(["GET", "HEAD", "POST"])
def page(request):
    form = EntryForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        form.save()
        return redirect("page")
    context = {"form": form, "entries": Entry.objects.all()[:PAGE_SIZE], "version": settings.VERSION}
    return render(request, "entries/page.html", context)
