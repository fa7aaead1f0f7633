"""starttls-token with a provider that others have made (oauth2-mock-server), and with a real browser.

The provider has no device authorization. For that flow the browser confirms the code on a page of a
provider of our own.
"""

import base64
import http.server
import json
import os
import pathlib
import re
import shutil
import subprocess
import threading
import unittest
import urllib.parse

from support import browser, children, main, wait
from support.client import free_port
from support.environment import ROOT
from support.token import ACCOUNT, Program
from support.token_endpoint import answer, error

NPM = pathlib.Path(os.environ.get("STARTTLS_NPM_PEERS") or ROOT / "build" / "npm-peers")

PAGE = """<!doctype html><title>device</title>
<form method=post action=/confirm><input name=user_code id=code><button>Confirm</button></form>
<script>
  // The person: types the code of the address and confirms it.
  document.getElementById("code").value = new URLSearchParams(location.search).get("user_code");
  document.forms[0].submit();
</script>
"""


def browse(address):
    """Returns the page that a browser ends at."""
    return browser.visit(address).page


def claims_of(token):
    """Returns the claims of a JWT."""
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


class DeviceProvider:
    """A provider with device authorization: a page takes the code, and then there are tokens."""

    def __init__(self):
        self.confirmed = threading.Event()
        self.polls = 0
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                page = PAGE if self.path.startswith("/device?") else "<p>nothing"
                answer(body=page, content_type="text/html")(self)

            def do_POST(self):
                raw = self.rfile.read(int(self.headers["Content-Length"])).decode()
                provider.answer_to(self.path, dict(urllib.parse.parse_qsl(raw)))(self)

            def log_message(self, *_):  # pylint: disable=arguments-differ
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer_to(self, path, form):
        if path == "/code":
            return answer(body={
                "device_code": "device-secret", "user_code": "WDJB-MJHT", "interval": 1,
                "expires_in": 600, "verification_uri": f"{self.url}/device",
                "verification_uri_complete": f"{self.url}/device?user_code=WDJB-MJHT"})
        if path == "/confirm":
            if form.get("user_code") == "WDJB-MJHT":
                self.confirmed.set()
            return answer(body="<p>Thank you, it is confirmed", content_type="text/html")
        self.polls += 1
        if form.get("device_code") != "device-secret":
            return error("invalid_grant")
        if not self.confirmed.is_set():
            return error("authorization_pending")
        return answer(body={"access_token": "from-device", "refresh_token": "r", "expires_in": 3600})

    def __enter__(self):
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Base(unittest.TestCase):
    def setUp(self):
        browser.require()


class Mock(Base):
    @classmethod
    def setUpClass(cls):
        program = NPM / "node_modules/.bin/oauth2-mock-server"
        node = shutil.which("node")
        if not program.is_file() or not node:
            raise unittest.SkipTest("no oauth2-mock-server: run tests/peers/npm/fetch DIR")
        cls.url = f"http://127.0.0.1:{(port := free_port())}"
        process = children.start([node, program, "-a", "127.0.0.1", "-p", port],
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        cls.addClassCleanup(process.stdout.close)
        cls.addClassCleanup(process.wait)
        cls.addClassCleanup(process.kill)
        while "OAuth 2 issuer" not in (line := process.stdout.readline()):
            if not line:
                raise AssertionError("oauth2-mock-server has ended")

    def program(self, **more):
        return Program(self, token_url=f"{self.url}/token", authorize_url=f"{self.url}/authorize",
                       scope="mail offline_access", **more)

    def end_of_token(self, program):
        """Makes the stored access token one that has ended."""
        entry = program.stored()
        file = program.store / f"{ACCOUNT}.json"
        file.write_text(json.dumps({**entry, "obtained": 1, "expires": 2}), encoding="utf-8")
        return entry

    def test_the_code_flow_in_a_browser_then_renewals(self):
        program = self.program()
        with program.authorize() as authorization:
            page = browse(authorization.address())
            self.assertIn("You may close this window", page)
            status, said = authorization.end()
        self.assertEqual(status, 0, said)
        token = program.run("access", ACCOUNT).stdout.strip()
        self.assertEqual(claims_of(token)["sub"], "johndoe")

        before = self.end_of_token(program)
        renewed = program.run("access", ACCOUNT)
        self.assertEqual((renewed.returncode, renewed.stderr), (0, ""))
        after = program.stored()
        self.assertEqual(renewed.stdout.strip(), after["access_token"])
        self.assertNotEqual(after["refresh_token"], before["refresh_token"])
        self.assertEqual(program.run("access", ACCOUNT).stdout, renewed.stdout)

    def test_a_fixed_redirect_to_localhost(self):
        redirect = f"http://localhost:{free_port()}/callback"
        program = self.program(redirect=redirect)
        with program.authorize() as authorization:
            asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(authorization.address()).query))
            self.assertEqual(asked["redirect_uri"], redirect)
            self.assertIn("You may close this window", browse(authorization.address()))
            self.assertEqual(authorization.end()[0], 0)

    def test_client_credentials(self):
        program = self.program(grant="client_credentials", client_secret="hush")
        token = program.run("access", ACCOUNT).stdout.strip()
        self.assertEqual(claims_of(token)["scope"], "mail offline_access")


class Device(Base):
    def test_the_device_flow_is_confirmed_in_a_browser(self):
        with DeviceProvider() as provider:
            program = Program(self, token_url=f"{provider.url}/token", device_url=f"{provider.url}/code",
                              grant="device_code")
            with program.authorize() as authorization:
                address = authorization.address(2)
                self.assertTrue(re.fullmatch(r"http://127.0.0.1:\d+/device\?user_code=WDJB-MJHT", address))
                wait.until(lambda: provider.polls, "a poll before the confirmation")
                self.assertIn("it is confirmed", browse(address))
                status, said = authorization.end()
            self.assertEqual(status, 0, said)
            self.assertEqual(program.run("access", ACCOUNT).stdout, "from-device\n")


if __name__ == "__main__":
    main.main()
