"""An OAuth provider on loopback: its token and device endpoints give scripted answers, and remember."""

import collections
import http.server
import json
import threading
import urllib.parse

from . import wait


def answer(status=200, body="", content_type="application/json", headers=()):
    """Returns an answer that an Endpoint can give. `body` is text, bytes or a JSON value."""
    if not isinstance(body, (str, bytes)):
        body = json.dumps(body)
    raw = body.encode() if isinstance(body, str) else body

    def give(handler):
        handler.send_response(status)
        if content_type:
            handler.send_header("Content-Type", content_type)
        handler.send_header("Content-Length", str(len(raw)))
        for name, value in headers:
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(raw)

    return give


def error(code, status=400, **more):
    return answer(status, {"error": code, **more})


class Endpoint:
    """Gives the next of `answers` to each POST. When there are none left, it issues tokens.

    Refresh tokens are good for one use: only the newest is accepted. `forms` has what was sent, as
    (path, fields).
    """

    def __init__(self, context=None, lifetime=3600):
        self.answers = collections.deque()
        self.forms = []
        self.lifetime = lifetime
        self.lock = threading.Lock()
        self.newest = None  # the refresh token that is good
        self.issued = 0
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = dict(urllib.parse.parse_qsl(body, strict_parsing=True))
                with endpoint.lock:
                    endpoint.forms.append((self.path, form))
                    give = endpoint.answers.popleft() if endpoint.answers else None
                if give is None:
                    give = endpoint.issue(form)
                try:
                    give(self)
                except OSError:
                    pass  # the client is gone
                self.close_connection = True

            def log_message(self, *_):  # pylint: disable=arguments-differ
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if context:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.scheme = "https" if context else "http"
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"

    def __enter__(self):
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def issue(self, form):
        """Returns new tokens, or the error for a refresh token that is not the newest."""
        with self.lock:
            if form.get("grant_type") == "refresh_token" and form["refresh_token"] != self.newest:
                return error("invalid_grant", error_description="this refresh token was used before")
            self.issued += 1
            tokens = {"access_token": f"access-{self.issued}", "token_type": "Bearer",
                      "expires_in": self.lifetime}
            if form.get("grant_type") != "client_credentials":
                self.newest = f"refresh-{self.issued}"
                tokens["refresh_token"] = self.newest
        return answer(body=tokens)

    def received(self, count):
        """Waits for `count` requests."""
        wait.until(lambda: len(self.forms) >= count, lambda: f"{count} requests: {self.forms}")
