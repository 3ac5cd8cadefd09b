"""Make the collection importable under the name that it has once installed."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TREE = ROOT / ".cache" / "collections"
LINK = TREE / "ansible_collections" / "frontdesk" / "webstack"

# `make setup` makes the link; a lone pytest in a fresh checkout gets along without.
if not LINK.exists():
    LINK.parent.mkdir(parents=True, exist_ok=True)
    LINK.symlink_to(ROOT)
sys.path.insert(0, str(TREE))
