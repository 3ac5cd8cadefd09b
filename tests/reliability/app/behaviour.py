"""What a release does beside echoing: a good one nothing."""


def health(version):
    return f"well, version {version}\n"


def started(app):
    """Is called when the app is there."""
