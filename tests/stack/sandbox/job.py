"""What a timer starts."""

import os

print(f"job of {os.environ['WEBSTACK_RELEASE']}")
