"""For every scenario: check mode tells the truth about a host that is done."""

import os
import re
import subprocess
from pathlib import Path


def test_check_mode_reports_no_change():
    scenario = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
    # ANSIBLE_BECOME is testinfra's; the playbook asks by itself.
    environment = {name: value for name, value in os.environ.items() if name != "ANSIBLE_BECOME"}
    answer = subprocess.run(
        ["ansible-playbook", "--check", "--diff", f"--inventory={scenario / 'inventory.yml'}", "converge.yml"],
        cwd=scenario, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    recap = dict(re.findall(r"^(\S+) +: .*\bchanged=(\d+)", answer.stdout.partition("PLAY RECAP")[2], re.MULTILINE))
    assert recap and set(recap.values()) == {"0"}, answer.stdout
