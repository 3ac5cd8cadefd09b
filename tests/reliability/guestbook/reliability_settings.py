"""The guestbook's settings, with the paths that the traffic client asks for."""

from guestbook.settings import *  # noqa: F403
from guestbook.settings import DATABASES

ROOT_URLCONF = "reliability_urls"
# A connection for each request would make PostgreSQL the thing that is measured.
DATABASES["default"]["CONN_MAX_AGE"] = 60
