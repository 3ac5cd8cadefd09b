"""Back up, destroy, restore, compare: a Django app with uploads and PostgreSQL, and what must not get into a backup."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path

import pytest
from stack import ROOT, Stack, address, ask, ssh
from test_topologies import fine, guestbook_app, upload

# PostgreSQL 15 on Debian 12, 17 on 13.
pytestmark = pytest.mark.parametrize("debian", ["12", "13"], scope="module")
NAME = "guestbook.example.com"


@pytest.fixture(scope="module")
def place(debian, bring_up):
    bring_up(f"backup-{debian}")
    return f"backup-{debian}"


@pytest.fixture
def plan(place, overlay):
    return Stack([str(ROOT / "inventories/t4")], overlay(web1=place))


def entries(place: str) -> list:
    return json.loads(ask(address(place), "/api/entries/", NAME)[2])


def path_of(picture: str) -> str:
    return picture if picture.startswith("/") else "/" + picture.split("/", 3)[3]


def everything(place: str, folder: str = "/srv/webstack/apps/guestbook/shared") -> str:
    """Return names, modes, owners and content of all that the app has written."""
    return ssh(place, f"cd {folder} && sudo find . -not -path './.webstack*' -printf '%p %M %u %g %l\\n' | sort; "
                      f"sudo find . -type f -not -path './.webstack*' -exec sha256sum {{}} + | sort")


def test_what_was_destroyed_comes_back(plan, place, tmp_path):
    where, secret = address(place), "change-me-too"
    fine(plan.play())
    pictures = [path_of(upload(where, NAME, f"entry {number}")) for number in range(3)]
    ssh(place, "sudo -u ws-guestbook sh -c 'cd /srv/webstack/apps/guestbook/shared && mkdir -p notes && "
               "echo one > notes/a && ln -s a notes/link && chmod 600 notes/a'")
    rows, files = entries(place), everything(place)

    run = fine(plan.play("-e", f"backup_dir={tmp_path}", playbook="playbooks/backup.yml"))
    (archive,) = Path(tmp_path).iterdir()
    assert oct(archive.stat().st_mode)[-3:] == "600"
    assert str(archive) in run.output and entries(place) == rows
    _no_secrets(archive, tmp_path, secret)

    # What comes after the backup is gone after the restore, and what was destroyed is back.
    late = path_of(upload(where, NAME, "too late"))
    ssh(place, "sudo sh -c 'cd /srv/webstack/apps/guestbook/shared && rm -rf media/* notes'; "
               "sudo -u postgres psql -q guestbook -c 'TRUNCATE entries_entry CASCADE; "
               "DROP TABLE IF EXISTS django_session'")
    assert entries(place) != rows and ask(where, pictures[0], NAME)[0] == 404
    fine(plan.play("-e", "app=guestbook", "-e", f"backup={archive}", playbook="playbooks/restore.yml"))
    assert entries(place) == rows
    assert everything(place) == files
    assert [ask(where, picture, NAME)[0] for picture in pictures] == [200] * 3
    assert ask(where, late, NAME)[0] == 404
    # It goes on as before: entries are written, nothing is left to do, and it can be restored once more.
    upload(where, NAME, "after it")
    fine(plan.play(), changed=0)
    fine(plan.play("-e", "app=guestbook", "-e", f"backup={archive}", playbook="playbooks/restore.yml"))
    assert entries(place) == rows and everything(place) == files
    # The data of before are still there.
    assert "after it" in ssh(place, "sudo -u postgres psql -At guestbook_before -c 'SELECT name FROM entries_entry'")
    assert ssh(place, "sudo ls /home/deploy/.ansible/tmp | wc -l").strip() == "0"


def _no_secrets(archive: Path, tmp_path: Path, secret: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with tarfile.open(archive) as content:
        for member in content.getmembers():
            (out / Path(member.name).name).write_bytes(content.extractfile(member).read())
    manifest = json.loads((out / "backup.json").read_text())
    assert [part["kind"] for part in manifest["parts"]] == ["database", "folders"]
    assert manifest["hosts"]["web1"]["migrations"]
    subprocess.run(["gunzip", "-k", out / "web1.tar.gz"], check=True)
    for path in out.iterdir():
        assert secret.encode() not in path.read_bytes(), path
    for path in out.iterdir():
        path.unlink()
    out.rmdir()


def test_a_restore_that_cannot_go_well_changes_nothing(plan, place, tmp_path):
    fine(plan.play("-e", f"backup_dir={tmp_path}", "-e", "app=guestbook", playbook="playbooks/backup.yml"))
    (archive,) = Path(tmp_path).iterdir()
    rows, files = entries(place), everything(place)
    for words, named in ((["-e", f"backup={archive}"], "Write what to restore"),
                         (["-e", "app=guestbok", "-e", f"backup={archive}"], "Did you mean 'guestbook'"),
                         (["-e", "app=guestbook", "-e", f"backup={tmp_path}/none.tar"], "cannot be read")):
        run = plan.play(*words, playbook="playbooks/restore.yml")
        assert run.code and named in run.output, run.output[-3000:]
    data = archive.read_bytes()
    archive.write_bytes(data[:len(data) // 2])
    run = plan.play("-e", "app=guestbook", "-e", f"backup={archive}", playbook="playbooks/restore.yml")
    assert run.code and "is no backup" in run.output, run.output[-3000:]
    assert (entries(place), everything(place)) == (rows, files)


def test_a_killed_restore_is_finished_by_the_next(plan, place, tmp_path):
    fine(plan.play("-e", f"backup_dir={tmp_path}", "-e", "app=guestbook", playbook="playbooks/backup.yml"))
    (archive,) = Path(tmp_path).iterdir()
    rows, files = entries(place), everything(place)
    # As it is when a run dies after it has stopped the app, in the middle of the change.
    ssh(place, """sudo sh -ec '
      cd /srv/webstack/apps/guestbook
      live=$(python3 -c "import json; print(json.load(open(\\"record.json\\"))[\\"live\\"])")
      echo "[\\"webstack-guestbook.socket\\", \\"webstack-guestbook@$live.service\\"]" > stopped.json
      systemctl stop webstack-guestbook.socket webstack-guestbook@$live.service
      cd shared; sudo -u ws-guestbook mkdir .webstack-restore .webstack-leaving
      sudo -u ws-guestbook mv notes .webstack-leaving/'""")
    fine(plan.play("-e", "app=guestbook", "-e", f"backup={archive}", playbook="playbooks/restore.yml"))
    assert (entries(place), everything(place)) == (rows, files)
    fine(plan.play(), changed=0)


def test_another_schema_is_refused(plan, place, tmp_path):
    fine(plan.play("-e", f"backup_dir={tmp_path}", "-e", "app=guestbook", playbook="playbooks/backup.yml"))
    (archive,) = Path(tmp_path).iterdir()
    source = tmp_path / "api"
    subprocess.run(["cp", "-r", ROOT / "examples/guestbook/api", source], check=True)
    (source / "entries/migrations/0099_more.py").write_text(
        "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n"
        f"    dependencies = [('entries', '{_last()}')]\n    operations = []\n")
    app = guestbook_app(place)
    app["source"]["folder"] = str(source)
    fine(plan.play(variables={"django_apps": [app]}))
    run = plan.play("-e", "app=guestbook", "-e", f"backup={archive}", playbook="playbooks/restore.yml")
    assert run.code and "entries.0099_more" in run.output and "anyway=true" in run.output, run.output[-3000:]


def _last() -> str:
    return sorted(path.stem for path in (ROOT / "examples/guestbook/api/entries/migrations").glob("0*.py"))[-1]
