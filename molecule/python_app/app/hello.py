"""The smallest app there is."""


def app(environ, start_response):
    """Answer every request."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]
