import json
import tempfile
from pathlib import Path
from unittest.mock import patch

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError
from django.test import Client, SimpleTestCase, TestCase, override_settings

from guestbook.settings import database

from .forms import MAX_PICTURE_BYTES, picture_kind
from .models import Entry

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 32
# Independent of the environment the tests are started in: no manifest of static files, no redirect to https.
PLAIN = {
    "STORAGES": {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    },
    "SECURE_SSL_REDIRECT": False,
}


class DatabaseUrlTests(SimpleTestCase):
    def test_sqlite(self):
        self.assertEqual(database("sqlite:///db.sqlite3")["NAME"], settings.BASE_DIR / "db.sqlite3")
        self.assertEqual(database("sqlite:////srv/data/db.sqlite3")["NAME"], Path("/srv/data/db.sqlite3"))

    def test_postgres(self):
        found = database("postgres://me:p%40ss%2Fword@db.example:5433/book?sslmode=require")
        expected = {"USER": "me", "PASSWORD": "p@ss/word", "HOST": "db.example", "PORT": 5433, "NAME": "book"}
        self.assertEqual({key: found[key] for key in expected}, expected)
        self.assertEqual(found["OPTIONS"]["sslmode"], "require")

    def test_postgres_socket(self):
        self.assertEqual(database("postgresql://me@/book?host=/run/postgresql")["HOST"], "/run/postgresql")

    def test_nonsense_is_refused_without_showing_the_password(self):
        for url in (
            "mysql://me:secret@db/book",
            "postgres://me:secret@db",
            "postgres://me:secret#@db/book",
            "sqlite://",
            "secret",
        ):
            with self.assertRaises(ImproperlyConfigured) as caught:
                database(url)
            self.assertNotIn("secret", str(caught.exception))


class PictureKindTests(SimpleTestCase):
    def test_kinds(self):
        heads = {PNG: "png", b"\xff\xd8\xff\xe0": "jpg", b"GIF89a": "gif", b"RIFF\1\2\3\4WEBPVP8 ": "webp"}
        for head, kind in heads.items():
            self.assertEqual(picture_kind(head), kind)
        for head in (b"", b"<svg>", b"RIFF\1\2\3\4WAVEfmt "):
            self.assertIsNone(picture_kind(head))


@override_settings(**PLAIN)
class GuestbookTests(TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        media = override_settings(MEDIA_ROOT=folder.name)
        media.enable()
        self.addCleanup(media.disable)

    def post_picture(self, content, name="me.png"):
        data = {"name": "Ada", "message": "Hi", "picture": SimpleUploadedFile(name, content)}
        return self.client.post("/api/entries/", data)

    def test_a_fresh_database_shows_the_first_entry(self):
        entries = self.client.get("/api/entries/").json()
        self.assertEqual(len(entries), 1)
        self.assertEqual(set(entries[0]), {"id", "name", "message", "picture", "created"})
        self.assertIn("Hello", entries[0]["message"])
        self.assertIsNone(entries[0]["picture"])

    def test_post_json(self):
        data = {"name": "Ada", "message": "Grüße"}
        response = self.client.post("/api/entries/", data, content_type="application/json")
        self.assertEqual(response.status_code, 201)
        self.assertEqual(self.client.get(f"/api/entries/{response.json()['id']}/").json(), response.json())
        self.assertEqual(self.client.get("/api/entries/").json()[0]["message"], "Grüße")

    def test_bad_input_is_refused(self):
        for body in ("{", "[]", '"text"', "{}", json.dumps({"name": "x" * 81, "message": "y"})):
            response = self.client.post("/api/entries/", body, content_type="application/json")
            self.assertEqual(response.status_code, 400, body)
            self.assertTrue(response.json()["errors"])
        self.assertEqual(Entry.objects.count(), 1)

    def test_a_picture_is_stored_under_a_name_of_our_own(self):
        response = self.post_picture(PNG, "../../evil.html")
        self.assertEqual(response.status_code, 201)
        self.assertRegex(response.json()["picture"], r"^/media/pictures/[0-9a-f]{32}\.png$")
        self.assertEqual(Entry.objects.get(pk=response.json()["id"]).picture.read(), PNG)

    def test_other_files_and_large_pictures_are_refused(self):
        for content in (b"<script>", PNG + b"\0" * MAX_PICTURE_BYTES):
            response = self.post_picture(content)
            self.assertEqual(response.status_code, 400)
            self.assertIn("picture", response.json()["errors"])

    def test_csrf_is_required_and_api_csrf_provides_it(self):
        client = Client(enforce_csrf_checks=True)
        data = {"name": "Ada", "message": "Hi"}
        self.assertEqual(client.post("/api/entries/", data).status_code, 403)
        token = client.get("/api/csrf/").json()["csrfToken"]
        self.assertEqual(client.post("/api/entries/", data, headers={"X-CSRFToken": token}).status_code, 201)

    def test_health(self):
        expected = {"status": "ok", "version": settings.VERSION, "entries": 1}
        self.assertEqual(self.client.get("/api/health/").json(), expected)

    def test_health_without_a_database(self):
        with patch.object(Entry.objects, "count", side_effect=OperationalError), self.assertLogs("entries", "ERROR"):
            response = self.client.get("/api/health/")
        self.assertEqual(response.status_code, 500)
        self.assertEqual(response.json()["status"], "error")

    def test_the_plain_page(self):
        response = self.client.get("/guestbook/")
        self.assertContains(response, "/static/entries/guestbook.css")
        self.assertContains(response, "csrfmiddlewaretoken")
        response = self.client.post("/guestbook/", {"name": "Bob", "message": "<b>hi</b>"}, follow=True)
        self.assertContains(response, "&lt;b&gt;hi&lt;/b&gt;")
        self.assertContains(self.client.post("/guestbook/", {"name": "Bob"}), "This field is required")

    def test_the_admin(self):
        self.client.force_login(get_user_model().objects.create_superuser("root"))
        entry = Entry.objects.get(pk=self.post_picture(PNG).json()["id"])
        url = f"/admin/entries/entry/{entry.pk}/change/"
        self.assertRedirects(self.client.post(url, {"name": "Eve", "message": "Hi"}), "/admin/entries/entry/")
        changed = Entry.objects.get(pk=entry.pk)
        self.assertEqual((changed.name, changed.picture.name), ("Eve", entry.picture.name))
