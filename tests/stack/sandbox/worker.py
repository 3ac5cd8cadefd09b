"""A process that is told to finish, and then needs its time: worker.py NAME SECONDS."""

import os
import signal
import sys
import time

name, seconds = sys.argv[1], float(sys.argv[2])
release = os.environ["WEBSTACK_RELEASE"]
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(True))
if os.environ.get("WORKER_DIES"):
    raise SystemExit(f"no queue at {os.environ['SECRET_WORD']}")
print(f"{name} {release} begins at {time.time()}")
while not told:
    time.sleep(0.1)
time.sleep(seconds)
print(f"{name} {release} has finished at {time.time()}")
