"""A Vue site, built on the controller and put where nginx hands it out."""

import json
import re

ROOT = "/srv/webstack/vue/guestbook-web"


def live(host):
    """Return the folder behind the link."""
    target = host.file(f"{ROOT}/current").linked_to
    assert target.startswith(f"{ROOT}/releases/")
    return target


def test_current_is_a_relative_link_to_the_only_release(host):
    assert host.file(f"{ROOT}/current").is_symlink
    assert re.fullmatch(r"releases/[0-9a-f]+", host.check_output(f"readlink {ROOT}/current"))
    assert host.file(f"{ROOT}/releases").listdir() == [live(host).rpartition("/")[2]]


def test_site_was_built(host):
    index = host.file(f"{live(host)}/index.html").content_string
    scripts = re.findall(r'src="(/assets/[^"]+\.js)"', index)
    assert scripts, index
    for script in scripts:
        assert host.file(live(host) + script).is_file


def test_assets_are_laid_over_those_of_earlier_releases(host):
    own = host.file(f"{live(host)}/assets").listdir()
    assert own
    assert set(own) <= set(host.file(f"{ROOT}/assets").listdir())
    for name in own:
        assert host.file(f"{ROOT}/assets/{name}").sha256sum == host.file(f"{live(host)}/assets/{name}").sha256sum


def test_settings_are_those_of_the_inventory(host):
    assert json.loads(host.file(f"{live(host)}/settings.json").content_string) == {"title": "Guestbook of the tests"}


def test_nginx_may_read_all_of_it_and_change_nothing(host):
    nobody = "runuser -u www-data -- env -C /"
    assert host.check_output(f"{nobody} cat {ROOT}/current/index.html")
    assert host.check_output(f"{nobody} find {ROOT} -type f ! -readable") == ""
    assert host.check_output(f"find {ROOT} ! -user root -o ! -type l -perm /022") == ""


def test_nothing_of_the_source_is_published(host):
    for name in ("package.json", "src", "node_modules", "vite.config.js"):
        assert not host.file(f"{live(host)}/{name}").exists, name
    assert host.check_output(f"find {ROOT} -name '*.map' -o -name '*.partial' -o -name '.env*'") == ""
