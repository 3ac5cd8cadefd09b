"""Settings of the guestbook. Everything that differs between machines comes from the environment."""

import os
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent


def flag(name):
    return os.environ.get(name, "0") == "1"


def comma_list(name):
    return [item.strip() for item in os.environ.get(name, "").split(",") if item.strip()]


def required(name, hint):
    value = os.environ.get(name, "")
    if not value:
        raise ImproperlyConfigured(f"The environment variable {name} is missing: {hint}")
    return value


def database(url):
    """sqlite:///relative, sqlite:////absolute or postgres://user:password@host:port/name?sslmode=require"""
    # The value may hold a password, so the message does not repeat it.
    wrong = ImproperlyConfigured("DATABASE_URL must look like postgres://user:password@host/name or sqlite:///file")
    try:
        parts = urlsplit(url)
        port = parts.port or ""
    except ValueError:
        raise wrong from None
    name = unquote(parts.path[1:])
    if parts.scheme == "sqlite" and name and not parts.netloc:
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / name}
    if parts.scheme in ("postgres", "postgresql") and name:
        options = {"connect_timeout": 5, **dict(parse_qsl(parts.query))}
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name,
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": options.pop("host", parts.hostname or ""),  # ?host=/run/postgresql picks a socket folder
            "PORT": port,
            "OPTIONS": options,
        }
    raise wrong


DEBUG = flag("DJANGO_DEBUG")
SECRET_KEY = required("DJANGO_SECRET_KEY", "set it to a long random text, and keep it the same between releases")
ALLOWED_HOSTS = comma_list("DJANGO_ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = comma_list("DJANGO_CSRF_TRUSTED_ORIGINS")

if DEBUG:
    DATABASE_URL = os.environ.get("DATABASE_URL") or "sqlite:///db.sqlite3"
else:
    DATABASE_URL = required("DATABASE_URL", "for example postgres://user:password@host/name")
DATABASES = {"default": database(DATABASE_URL)}

# Read once at the start: /api/health/ tells which code is running, not which code lies on the disk.
VERSION = (BASE_DIR / "VERSION").read_text(encoding="utf-8").strip()

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "entries",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "guestbook.urls"
WSGI_APPLICATION = "guestbook.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = os.environ.get("DJANGO_STATIC_ROOT") or BASE_DIR / "staticfiles"
MEDIA_URL = "/media/"
MEDIA_ROOT = os.environ.get("DJANGO_MEDIA_ROOT") or BASE_DIR / "media"
static_storage = "StaticFilesStorage" if DEBUG else "ManifestStaticFilesStorage"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": f"django.contrib.staticfiles.storage.{static_storage}"},
}

# Only behind a web server that sets X-Forwarded-Proto itself; otherwise any client could claim https.
if flag("DJANGO_BEHIND_PROXY"):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

if flag("DJANGO_HTTPS"):
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = [r"^api/health/$"]  # a health check may ask the application server directly
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    SECURE_HSTS_SECONDS = 30 * 24 * 3600
    # Sub-domains and the browsers' preload list are decisions about a whole domain, not about this app.
    SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

# Django's default shows nothing on the console without DEBUG; the service manager collects stderr.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {"django": {"handlers": [], "level": "INFO", "propagate": True}},
}
