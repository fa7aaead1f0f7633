"""The status page in a real browser: what it shows, and that it runs no script and asks no other server."""

import html
import re
import socketserver
import threading
import unittest

from support import admin, browser, main
from support.daemon import Daemon, configuration
from support.environment import pki
from support.fake_server import FakeServer, Smtp

EVIL = b"<script>document.title='owned'</script><img src=x onerror=alert(1)>"

# A page that does what ours must not do.
BAD = b"""HTTP/1.1 200 OK\r
Content-Type: text/html\r
Content-Security-Policy: default-src 'none'; img-src *\r
Connection: close\r
\r
<title>bad</title><script>alert(1)</script><img src="/elsewhere.png">
"""


class BadServer(socketserver.ThreadingTCPServer):
    daemon_threads = True

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            self.rfile.readline()
            self.wfile.write(BAD)

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.Handler)


def words(page):
    """Returns the text of a page, each element's on a line of its own."""
    body = re.sub(r"<(style|title)[^>]*>.*?</\1>", "", page, flags=re.S)
    return [line for line in html.unescape(re.sub(r"<[^>]+>", "\n", body)).split("\n") if line.strip()]


class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        browser.require()

    def setUp(self):
        self.script = Smtp()
        self.server = self.enterContext(FakeServer(self.script))

    def daemon(self):
        chain, key = pki().pair()
        text = configuration(self.server.port) + (
            f'\ndownstream.tls = "starttls"\n'
            f'downstream.certificates = [{{ chain = "{chain}", key = "{key}" }}]\n')
        daemon = self.enterContext(Daemon(admin.configured(text)))
        return daemon, admin.address(daemon)

    def test_a_browser_shows_it_and_asks_no_other_server(self):
        daemon, address = self.daemon()
        with daemon.connect() as client:
            client.reply()
            client.command(b"QUIT")
        daemon.sessions()
        self.script.greeting = b"554 " + EVIL + b"\r\n"
        with daemon.connect() as client:
            client.rest()
        daemon.sessions(2)
        visit = browser.visit(f"http://{address}/", 5000)
        shown = words(visit.page)
        for text in ("starttls-proxy", "ready", "office", "smtp", "serving", "STARTTLS, verified",
                     f"127.0.0.1:{self.server.port}", "1 ok, 1 greeting_refused", "50 % of the ended ones",
                     "shown by the server", "ours, for clients", pki().pair()[0], "greeting_refused",
                     f"server says: 554 {EVIL.decode()}"):
            self.assertIn(text, shown)
        self.assertIn("<title>starttls-proxy: ready</title>", visit.page)
        self.assertEqual(visit.console, [])
        self.assertEqual(set(visit.requests), {f"http://{address}/"})

    def test_the_check_sees_scripts_and_other_requests(self):
        with BadServer() as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            try:
                address = f"http://127.0.0.1:{server.server_address[1]}/"
                visit = browser.visit(address, 2000)
            finally:
                server.shutdown()
                thread.join()
        self.assertIn("Content Security Policy", " ".join(visit.console))
        self.assertEqual(set(visit.requests) - {f"{address}favicon.ico"},
                         {address, f"{address}elsewhere.png"})


if __name__ == "__main__":
    main.main()
