"""starttls-token against a scripted provider: answers and faults, the store, crashes, both flows."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

from support import main, wait
from support.client import free_port
from support.environment import ROOT, TOKEN, pki, unsanitized
from support.fake_server import tls_context
from support.token import ACCOUNT, Program, on_terminal
from support.token_endpoint import Endpoint, answer, error
from unit_test import allowed

USAGE, NO_INPUT, UNAVAILABLE, TEMPORARY, PROTOCOL, PERMISSION, CONFIG = 64, 66, 69, 75, 76, 77, 78


def truncated(handler):
    """Promises more bytes than it sends."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"access_token":"cut')


def endless_head(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        handler.wfile.write(b"X-More: " + b"x" * 8000 + b"\r\n")


class Base(unittest.TestCase):
    def setUp(self):
        self.endpoint = self.enterContext(Endpoint())
        self.program = Program(self, **self.urls())

    def urls(self):
        return {"token_url": f"{self.endpoint.url}/token", "device_url": f"{self.endpoint.url}/device",
                "authorize_url": f"{self.endpoint.url}/authorize"}

    def authorized(self, **more):
        self.endpoint.newest = "refresh-0"
        self.program.put(f"{self.endpoint.url}/token", **more)

    def fails(self, status, words, *arguments):
        result = self.program.run(*(arguments or ("access", ACCOUNT)))
        self.assertEqual((result.returncode, result.stdout), (status, ""), result.stderr)
        self.assertTrue(result.stderr.startswith("starttls-token: "), result.stderr)
        self.assertIn(words, result.stderr)
        self.assertNotIn("refresh-0", result.stderr)
        return result.stderr


class Answers(Base):
    """Each fault has its exit status, and the stored refresh token survives it."""

    def setUp(self):
        super().setUp()
        self.authorized()

    def tearDown(self):
        self.assertEqual(self.program.stored()["refresh_token"], "refresh-0")
        self.assertEqual(sorted(path.suffix for path in self.program.store.iterdir()), [".json", ".lock"])

    def test_the_journal_gets_an_error(self):
        with tempfile.TemporaryFile("w+") as journal:
            status = os.fstat(journal.fileno())
            result = subprocess.run(
                self.program.argv("access", "another@example.com"), stderr=journal, check=False,
                timeout=2 * wait.DEADLINE,
                env={**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
            journal.seek(0)
            self.assertRegex(journal.read(), r"\A<3>starttls-token: [^\n]+\n\Z")
        self.assertNotEqual(result.returncode, 0)

    def test_every_error_of_rfc_6749_and_rfc_8628(self):
        for code, status in (("invalid_request", CONFIG), ("invalid_client", CONFIG),
                             ("invalid_grant", PERMISSION), ("unauthorized_client", CONFIG),
                             ("unsupported_grant_type", CONFIG), ("invalid_scope", CONFIG),
                             ("access_denied", PERMISSION), ("unsupported_response_type", CONFIG),
                             ("server_error", TEMPORARY), ("temporarily_unavailable", TEMPORARY),
                             ("authorization_pending", TEMPORARY), ("slow_down", TEMPORARY),
                             ("expired_token", PERMISSION)):
            with self.subTest(code):
                self.endpoint.answers.append(error(code, error_description="in words"))
                said = self.fails(status, f"{code}: ")
                self.assertIn("the provider says: in words", said)
                self.assertEqual(f"authorize again: starttls-token authorize {ACCOUNT}" in said,
                                 status == PERMISSION)
        self.endpoint.answers.append(error("invalid_client", 401))
        self.fails(CONFIG, "invalid_client")

    def test_overload_and_errors_of_the_server_are_temporary(self):
        for status in (429, 500, 502, 503):
            with self.subTest(status):
                self.endpoint.answers.append(answer(status, "<html>", "text/html",
                                                    [("Retry-After", "17")]))
                self.assertIn("asked again in 17 s", self.fails(TEMPORARY, f"HTTP status {status}"))

    def test_answers_that_are_not_of_oauth(self):
        for give, words in (
                (answer(200, "<html>login</html>", "text/html"), "text/html"),
                (answer(200, {"access_token": "x"}, "text/plain"), "text/plain"),
                (answer(200, {"access_token": "x"}, None), "no content type"),
                (answer(404, "", "text/html"), "HTTP status 404"),
                (answer(200, '{"access_token":"x"'), "no JSON object"),
                (answer(200, {"token": "x"}), "no access_token"),
                (answer(200, {"access_token": "x\nQUIT"}), "the access token"),
                (answer(200, {"access_token": "x" * 9001}), "9000 bytes"),
                (answer(200, b'{"access_token":"\xff"}'), "no JSON object"),
                (answer(200, {"access_token": "x", "padding": "y" * 70000}), "64 KiB")):
            with self.subTest(words):
                self.endpoint.answers.append(give)
                self.fails(PROTOCOL, words)

    def test_a_redirect_is_not_followed(self):
        with Endpoint() as other:
            for status in (301, 302, 307, 308):
                self.endpoint.answers.append(answer(
                    status, "", "text/html", [("Location", f"{other.url}/token")]))
                self.fails(PROTOCOL, "redirects are not followed")
            self.assertEqual(other.forms, [])

    def test_a_truncated_answer_is_temporary(self):
        self.endpoint.answers.append(truncated)
        self.fails(TEMPORARY, "127.0.0.1")

    def test_a_slow_answer_meets_the_time_limit(self):
        self.program.write('timeout = "1s"', **self.urls())
        gone = threading.Event()
        self.addCleanup(gone.set)
        self.endpoint.answers.append(lambda handler: gone.wait(wait.DEADLINE))
        self.fails(TEMPORARY, "imed out")

    def test_an_endless_head_is_cut(self):
        self.endpoint.answers.append(endless_head)
        self.assertRegex(self.fails(PROTOCOL, "127.0.0.1"), "larger than 64 KiB")

    def test_nothing_listens(self):
        url = f"http://127.0.0.1:{free_port()}/token"
        self.program.write(token_url=url)
        self.program.put(url)
        self.fails(TEMPORARY, "127.0.0.1")

    def test_a_secret_that_the_endpoint_repeats_is_not_shown(self):
        self.endpoint.answers.append(error("invalid_grant", error_description="bad: refresh-0"))
        self.assertNotIn("bad", self.fails(PERMISSION, "invalid_grant"))


class Encrypted(Base):
    def secure(self, certificate):
        """Returns an endpoint that the program is configured for, with our CA."""
        secure = self.enterContext(Endpoint(tls_context(certificate)))
        secure.newest = "refresh-0"
        self.program.write(f'ca_file = "{pki().ca}"', token_url=f"{secure.url}/token")
        self.program.put(f"{secure.url}/token")
        return secure

    def test_a_good_certificate(self):
        self.secure("server")
        self.assertEqual(self.program.run("access", ACCOUNT).stdout, "access-1\n")

    def test_certificates_that_are_not_acceptable(self):
        for certificate in ("wrong-name", "expired", "self-signed"):
            with self.subTest(certificate):
                secure = self.secure(certificate)
                self.fails(UNAVAILABLE, "ertificate")
                self.assertEqual(secure.forms, [])
        secure = self.secure("server")
        self.program.write(token_url=f"{secure.url}/token")
        self.fails(UNAVAILABLE, "ertificate")
        self.assertEqual(secure.forms, [])

    def test_no_secret_is_sent_in_the_clear_to_another_machine(self):
        for url in ("http://192.0.2.1/token", "http://mail.example.com/token", "ftp://127.0.0.1/"):
            self.program.write(token_url=url)
            self.program.put(url)
            self.fails(CONFIG, "must begin with https://")


class Access(Base):
    def access(self, **options):
        result = self.program.run("access", ACCOUNT, **options)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return result.stdout

    def test_it_renews_only_when_it_must_and_rotates_the_refresh_token(self):
        self.authorized()
        self.assertEqual(self.access(), "access-1\n")
        self.assertEqual(self.access(), "access-1\n")
        self.assertEqual(self.endpoint.forms, [("/token", {
            "grant_type": "refresh_token", "refresh_token": "refresh-0", "client_id": "the-client"})])
        self.assertEqual(self.program.stored()["refresh_token"], "refresh-1")
        self.program.put(f"{self.endpoint.url}/token", refresh_token="refresh-1")
        self.assertEqual(self.access(), "access-2\n")

    def test_two_at_once_renew_once(self):
        self.authorized()
        all_wait = threading.Event()
        issue = self.endpoint.issue({"grant_type": "refresh_token", "refresh_token": "refresh-0"})

        def held(handler):
            all_wait.wait(wait.DEADLINE)
            issue(handler)

        self.endpoint.answers.append(held)
        processes = [self.program.start("access", ACCOUNT) for _ in range(6)]
        self.endpoint.received(1)
        all_wait.set()
        for process in processes:
            out, err = process.communicate(timeout=wait.DEADLINE)
            self.assertEqual((process.returncode, out, err), (0, "access-1\n", ""))
        self.assertEqual(len(self.endpoint.forms), 1)

    def test_a_renewal_goes_on_when_its_process_group_is_killed(self):
        """The launcher of the proxy kills at its time limit. The refresh token is spent by then."""
        self.authorized()
        killed = threading.Event()
        issue = self.endpoint.issue({"grant_type": "refresh_token", "refresh_token": "refresh-0"})

        def late(handler):
            killed.wait(wait.DEADLINE)
            issue(handler)

        self.endpoint.answers.append(late)
        process = self.program.start("access", ACCOUNT, start_new_session=True)
        self.endpoint.received(1)
        os.killpg(process.pid, signal.SIGKILL)
        # Nothing holds its standard output any more: the reader sees the end.
        self.assertEqual(process.communicate(timeout=wait.DEADLINE), ("", ""))
        killed.set()
        wait.until(lambda: self.program.stored()["refresh_token"] == "refresh-1", "the renewal")
        self.assertEqual(self.access(), "access-1\n")
        self.assertEqual(len(self.endpoint.forms), 1)

    @unsanitized("strace slows a sanitizer too much")
    @unittest.skipUnless(shutil.which("strace"), "there is no strace")
    def test_a_crash_at_any_call_of_the_store_loses_nothing(self):
        """Even a provider that takes each refresh token only once is satisfied."""
        for call, when in (("flock", 1), ("fallocate", 1), ("ftruncate", 1), ("fsync", 1), ("renameat", 1),
                           ("fsync", 2)):
            with self.subTest(call=call, when=when):
                self.endpoint.forms.clear()
                self.authorized()
                traced = self.program.run("access", ACCOUNT, before=[
                    "strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}",
                    "-e", f"inject={call}:error=EIO:signal=KILL:when={when}"])
                self.assertNotEqual(traced.returncode, 0)
                self.assertEqual(traced.stdout, "")
                self.assertEqual(len(self.endpoint.forms), 0 if call in ("flock", "fallocate") else 1)
                self.assertRegex(self.access(), r"^access-\d+\n$")
                # A renewal that had an answer before the crash is not made again.
                self.assertEqual(len(self.endpoint.forms), 1)
                self.assertEqual(self.program.stored()["refresh_token"], self.endpoint.newest)
                self.assertFalse((self.program.store / f"{ACCOUNT}.new").exists())

    @unsanitized("strace slows a sanitizer too much")
    @unittest.skipUnless(shutil.which("strace"), "there is no strace")
    def test_a_full_disk_is_noticed_before_the_refresh_token_is_spent(self):
        self.authorized()
        result = self.program.run("access", ACCOUNT, before=[
            "strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fallocate",
            "-e", "inject=fallocate:error=ENOSPC"])
        self.assertEqual(result.returncode, 74, result.stderr)
        self.assertIn("No space left", result.stderr)
        self.assertEqual(self.endpoint.forms, [])

    @unsanitized("strace slows a sanitizer too much")
    @unittest.skipUnless(shutil.which("strace"), "there is no strace")
    def test_the_order_of_the_calls_of_a_renewal(self):
        """Space before the request; the rename after fsync; the folder's fsync before the output."""
        self.authorized()
        trace = self.program.folder / "trace"
        self.program.run("access", ACCOUNT, before=[
            "strace", "-f", "-o", trace, "-e", "trace=fallocate,connect,ftruncate,fsync,renameat,write"])
        lines = [line for line in trace.read_text().splitlines() if not re.search(r'/run|nscd', line)]
        places = [next((i for i, line in enumerate(lines) if re.search(pattern, line)), None)
                  for pattern in (r"fallocate\(", rf"htons\({self.endpoint.port}\)", r"ftruncate\(",
                                  r"fsync\(", r"renameat\(")]
        self.assertNotIn(None, places, lines)
        self.assertEqual(places, sorted(places))
        after = [line for line in lines[places[-1]:] if "fsync(" in line or "access-1" in line]
        self.assertIn("fsync(", after[0])
        self.assertIn("access-1", after[1])

    def test_no_argument_and_no_message_has_a_secret(self):
        self.program.write(client_secret="hush", **self.urls())
        self.authorized()
        self.endpoint.answers.append(error("invalid_client", error_description="hush refresh-0"))
        result = self.program.run("access", ACCOUNT)
        self.assertEqual(self.endpoint.forms[0][1]["client_secret"], "hush")
        self.assertNotRegex(result.stderr + result.stdout, "hush|refresh-0")

    def test_client_credentials_need_no_person(self):
        self.program.write(grant="client_credentials", client_secret="hush", scope="all", **self.urls())
        self.assertEqual(self.access(), "access-1\n")
        self.assertEqual(self.access(), "access-1\n")
        self.assertEqual(self.endpoint.forms, [("/token", {
            "grant_type": "client_credentials", "scope": "all", "client_id": "the-client",
            "client_secret": "hush"})])
        self.fails(USAGE, "needs no authorize", "authorize", ACCOUNT)

    def test_client_credentials_with_a_certificate(self):
        chain, key = pki().pair()
        self.program.write(grant="client_credentials", certificate=chain, key=key, **self.urls())
        self.assertEqual(self.access(), "access-1\n")
        form = self.endpoint.forms[0][1]
        self.assertEqual(form["client_assertion_type"],
                         "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
        self.assertEqual(form["client_assertion"].count("."), 2)
        self.assertNotIn("client_secret", form)

    def test_the_account_may_come_from_a_socket(self):
        self.authorized()
        ours, theirs = socket.socketpair()
        with ours:
            process = self.program.start("access", "--from-stdin", stdin=theirs, stdout=theirs)
            theirs.close()
            for piece in (ACCOUNT[:3], ACCOUNT[3:] + "\n"):
                ours.sendall(piece.encode())
            ours.settimeout(wait.DEADLINE)
            heard = b""
            while piece := ours.recv(4096):
                heard += piece
            self.assertEqual(heard, b"access-1\n")
            self.assertEqual(process.wait(wait.DEADLINE), 0)
            process.stderr.close()

    def test_input_without_an_account(self):
        for sent in ("", ACCOUNT, "x" * 300 + "\n", "\n"):
            result = self.program.run("access", "--from-stdin", stdin=None, input=sent)
            self.assertEqual((result.returncode, result.stdout), (USAGE, ""), result.stderr)

    def test_closed_standard_descriptors_do_no_harm(self):
        self.authorized()
        result = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh",
                                 *map(str, self.program.argv("access", ACCOUNT))], check=False)
        self.assertEqual(result.returncode, 74)  # the token could not be printed
        self.assertEqual(self.program.stored()["access_token"], "access-1")

    @unittest.skipUnless(os.geteuid() == 0, "only root can become another user")
    def test_root_becomes_the_owner_of_the_store(self):
        self.authorized()
        self.program.folder.chmod(0o711)
        for path in (self.program.store, *self.program.store.iterdir()):
            os.chown(path, 65534, 65534)
        self.assertEqual(self.access(), "access-1\n")
        for path in self.program.store.iterdir():
            self.assertEqual((path.stat().st_uid, path.stat().st_mode & 0o777), (65534, 0o600), path)

    @unsanitized("a sanitizer makes calls of its own")
    @unittest.skipUnless(shutil.which("strace") and shutil.which("systemd-analyze"),
                         "there is no strace, or no systemd-analyze")
    def test_the_unit_allows_every_system_call(self):
        secure = self.enterContext(Endpoint(tls_context()))
        secure.newest = "refresh-0"
        self.program.write(f'ca_file = "{pki().ca}"', token_url=f"https://localhost:{secure.port}/token")
        self.program.put(f"https://localhost:{secure.port}/token")
        trace = self.program.folder / "trace"
        result = self.program.run("access", "--from-stdin", before=["strace", "-f", "-qq", "-o", trace],
                                  stdin=None, input=f"{ACCOUNT}\n")
        self.assertEqual(result.stdout, "access-1\n", result.stderr)
        calls = set(re.findall(r"^\d+ +([a-z_0-9]+)\(", trace.read_text(encoding="utf-8"), re.M))
        self.assertLessEqual({"connect", "renameat", "fsync"}, calls)
        unit = ROOT / "conf" / "systemd" / "starttls-proxy-token@.service"
        self.assertEqual(calls - allowed(unit) - {"execve"}, set())


class Device(Base):
    CODE = {"device_code": "device-secret", "user_code": "WDJB-MJHT",
            "verification_uri": "https://login.test/device", "expires_in": 600, "interval": 1}

    def begins(self, *answers, **more):
        self.endpoint.answers.extend([answer(body={**self.CODE, **more}), *answers])

    def test_from_the_code_to_the_token(self):
        self.begins(error("authorization_pending"), error("authorization_pending", 428))
        with self.program.authorize() as authorization:
            self.assertEqual(authorization.code(), "WDJB-MJHT")
            self.assertEqual(authorization.address(), "https://login.test/device")
            status, said = authorization.end()
        self.assertEqual(status, 0, said)
        self.assertIn(f"starttls-token access {ACCOUNT}", authorization.said)
        self.assertIn("waiting for the confirmation, ", said)
        self.assertNotIn("\x1b", said + authorization.said)
        forms = [form for _, form in self.endpoint.forms]
        self.assertEqual(forms[0], {"client_id": "the-client"})
        self.assertEqual(forms[1:], 3 * [{
            "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
            "device_code": "device-secret", "client_id": "the-client"}])
        self.assertEqual(self.program.run("access", ACCOUNT).stdout, "access-1\n")
        self.assertEqual(len(self.endpoint.forms), 4)

    def test_the_address_with_the_code_is_shown(self):
        self.begins(error("access_denied"), verification_uri_complete="https://login.test/?c=WDJB")
        with self.program.authorize() as authorization:
            self.assertEqual(authorization.address(2), "https://login.test/?c=WDJB")

    def test_refusals_and_the_end_of_the_code(self):
        for code, status in (("access_denied", PERMISSION), ("expired_token", PERMISSION),
                             ("invalid_client", CONFIG), ("invalid_grant", PERMISSION)):
            with self.subTest(code):
                self.begins(error(code))
                with self.program.authorize() as authorization:
                    ended, said = authorization.end()
                self.assertEqual(ended, status, said)
                self.assertIn(code, said)
        self.begins(error("authorization_pending"), expires_in=1)
        with self.program.authorize() as authorization:
            ended, said = authorization.end()
        self.assertEqual(ended, PERMISSION)
        self.assertIn("not confirmed in time", said)
        self.assertFalse((self.program.store / f"{ACCOUNT}.json").exists())

    def test_a_busy_endpoint_is_asked_again(self):
        self.begins(answer(503, "", "text/html"))
        with self.program.authorize() as authorization:
            self.assertEqual(authorization.end()[0], 0)

    def test_without_a_refresh_token_nothing_is_stored(self):
        self.begins(answer(body={"access_token": "x", "expires_in": 3600}))
        with self.program.authorize() as authorization:
            status, said = authorization.end()
        self.assertEqual(status, CONFIG)
        self.assertIn("no refresh token", said)

    def test_a_store_that_cannot_be_written_is_noticed_first(self):
        self.program.store.mkdir(mode=0o755)
        self.fails(CONFIG, "chmod 0700", "authorize", ACCOUNT)
        self.assertEqual(self.endpoint.forms, [])

    def test_the_line_on_a_terminal(self):
        for environment, bold in (({}, True), ({"NO_COLOR": "1"}, False)):
            self.endpoint.answers.clear()
            self.begins(*(error("authorization_pending") for _ in range(20)))
            # The first line may have this time already.
            said = on_terminal(self.program.argv("authorize", ACCOUNT), ", 9 min 5", environment, 2)
            self.assertRegex(said, r"\r\x1b\[K\| waiting for the confirmation, (10 min 0|9 min 5\d) s left"
                                   r"\r\x1b\[K[-/\\|] waiting for the confirmation, 9 min 5")
            self.assertEqual("\x1b[1mWDJB-MJHT\x1b[0m" in said, bold)


class Code(Base):
    def urls(self):
        return {**super().urls(), "grant": "authorization_code"}

    @staticmethod
    def browse(address, **fields):
        """Follows a redirect as a browser does. Returns status and page."""
        with contextlib.suppress(urllib.error.HTTPError):
            with urllib.request.urlopen(f"{address}?{urllib.parse.urlencode(fields)}",
                                        timeout=wait.DEADLINE) as page:
                return page.status, page.read().decode(), dict(page.headers)
        return 404, "", {}

    def question(self, authorization):
        """Returns the parameters of the address that the person opens."""
        url = urllib.parse.urlsplit(authorization.address())
        self.assertEqual(url.path, "/authorize")
        return dict(urllib.parse.parse_qsl(url.query))

    def test_from_the_browser_to_the_token(self):
        with self.program.authorize() as authorization:
            asked = self.question(authorization)
            self.assertRegex(asked["redirect_uri"], r"^http://127\.0\.0\.1:\d+/$")
            status, page, headers = self.browse(asked["redirect_uri"], code="the-code",
                                                state=asked["state"])
            self.assertEqual(status, 200)
            self.assertIn("close this window", page)
            self.assertEqual(headers["Cache-Control"], "no-store")
            status, said = authorization.end()
        self.assertEqual(status, 0, said)
        [(_, form)] = self.endpoint.forms
        self.assertEqual(form.pop("client_id"), "the-client")
        self.assertRegex(form.pop("code_verifier"), "^[0-9a-f]{64}$")
        self.assertEqual(form, {"grant_type": "authorization_code", "code": "the-code",
                                "redirect_uri": asked["redirect_uri"]})
        self.assertEqual(self.program.run("access", ACCOUNT).stdout, "access-1\n")

    def test_requests_without_its_state_end_nothing(self):
        with self.program.authorize() as authorization:
            asked = self.question(authorization)
            address = asked["redirect_uri"]
            # A browser opens connections that it does not use. None holds up the others.
            silent = socket.create_connection(("127.0.0.1", urllib.parse.urlsplit(address).port))
            self.addCleanup(silent.close)
            for fields in ({}, {"code": "x"}, {"code": "x", "state": "wrong"},
                           {"error": "access_denied", "state": ""}):
                self.assertEqual(self.browse(address, **fields)[0], 404)
            self.assertEqual(self.browse(address + "favicon.ico")[0], 404)
            self.assertEqual(self.endpoint.forms, [])
            self.assertEqual(self.browse(address, code="c", state=asked["state"])[0], 200)
            self.assertEqual(authorization.end()[0], 0)

    def test_a_refusal_in_the_browser(self):
        with self.program.authorize() as authorization:
            asked = self.question(authorization)
            _, page, _ = self.browse(asked["redirect_uri"], error="access_denied",
                                     error_description="<b>no", state=asked["state"])
            self.assertNotIn("<b>no", page)
            status, said = authorization.end()
        self.assertEqual(status, PERMISSION)
        self.assertIn("access_denied", said)

    def test_a_pasted_address(self):
        with self.program.authorize("--paste", stdin=subprocess.PIPE) as authorization:
            asked = self.question(authorization)
            authorization.says("paste it here")
            authorization.type("what?")
            authorization.says("Paste it again")
            answered = urllib.parse.urlencode({"code": "pasted", "state": asked["state"]})
            authorization.type(f"{asked['redirect_uri']}?{answered}")
            status, said = authorization.end()
        self.assertEqual(status, 0, said)
        self.assertEqual(self.endpoint.forms[0][1]["code"], "pasted")

    def test_nothing_that_fits_is_pasted(self):
        with self.program.authorize("--paste", stdin=subprocess.PIPE) as authorization:
            self.question(authorization)
            for _ in range(5):
                authorization.type("http://127.0.0.1:8765/?code=x&state=y")
            self.assertEqual(authorization.end()[0], USAGE)
        self.assertEqual(self.endpoint.forms, [])

    def test_the_command_line_alone_is_enough(self):
        """Microsoft's endpoints cannot be reached here, so the flow ends at the first one."""
        program = Program(self)
        program.config.write_text("", encoding="utf-8")
        with program.authorize("--provider", "google", "--client-id", "mine") as authorization:
            url = urllib.parse.urlsplit(authorization.address())
        self.assertEqual(url.netloc, "accounts.google.com")
        asked = dict(urllib.parse.parse_qsl(url.query))
        self.assertEqual((asked["client_id"], asked["access_type"], asked["login_hint"]),
                         ("mine", "offline", ACCOUNT))


class Commands(Base):
    def test_accounts_are_listed_and_forgotten(self):
        self.authorized(provider="google", obtained=int(time.time()), expires=int(time.time()) + 3000)
        result = self.program.run("list")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"^ACCOUNT +PROVIDER +GRANT +STATE\n"
                         r"scan@example.com +google +authorization_code +the token ends in (50|49) min \d+ s\n$")
        self.assertNotIn("refresh-0", result.stdout)
        self.assertEqual(self.program.run("forget", ACCOUNT).returncode, 0)
        self.assertEqual(list(self.program.store.iterdir()), [])
        self.fails(NO_INPUT, "no such account", "forget", ACCOUNT)
        self.fails(NO_INPUT, "not authorized yet")
        self.assertIn("not authorized", self.program.run("list").stdout)

    def test_mistakes_have_their_exit_statuses(self):
        self.fails(USAGE, "Usage: ", "fetch")
        self.fails(USAGE, "unexpected argument", "list", ACCOUNT)
        self.fails(NO_INPUT, "there is no such account", "access", "other@example.com")
        self.program.write("nonsense = 'x'")
        self.fails(CONFIG, "unknown key 'nonsense'")
        self.program.config.unlink()
        self.fails(CONFIG, "tokens.toml")

    def test_help_and_version(self):
        self.assertIn("Usage: ", subprocess.run([TOKEN, "--help"], capture_output=True, text=True,
                                                check=True).stdout)
        self.assertRegex(subprocess.run([TOKEN, "--version"], capture_output=True, text=True,
                                        check=True).stdout, r"^starttls-token \d+\.\d+\.\d+\n$")

    def test_an_output_that_cannot_be_written(self):
        self.authorized(expires=int(time.time()) + 3600, obtained=int(time.time()))
        with pathlib.Path("/dev/full").open("w", encoding="ascii") as full:
            result = subprocess.run(list(map(str, self.program.argv("access", ACCOUNT))), stdout=full,
                                    stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(result.returncode, 74)
        self.assertIn("the output cannot be written", result.stderr)


if __name__ == "__main__":
    main.main()
