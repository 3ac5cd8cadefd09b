from django.conf import settings
from django.conf.urls.static import static
from django.contrib import admin
from django.urls import path

from entries import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/csrf/", views.csrf),
    path("api/entries/", views.entries),
    path("api/entries/<int:entry_id>/", views.entry),
    path("api/health/", views.health),
    path("guestbook/", views.page, name="page"),
    *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),  # with DEBUG only; else the web server's work
]
