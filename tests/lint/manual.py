"""Checks that the manual pages name every key and every option, and no others. Checks that the
completion offers them.

    manual.py BINARY TOKEN
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MANUAL = ROOT / "conf" / "man"
COMPLETION = ROOT / "conf" / "completion" / "starttls-proxy"
BINARY, TOKEN = map(os.path.abspath, sys.argv[1:3])

# Section of conf/reference.toml -> the heading above its keys in the manual page of the file.
HEADINGS = {
    "proxy": ".Sh PROXY",
    "log": ".Sh LOG",
    "admin": ".Sh ADMIN",
    "timeouts": ".Sh TIMEOUTS",
    "service": ".Sh SERVICES",
    "service.downstream": ".Ss The client's leg",
    "service.upstream": ".Ss The server's leg",
    "service.destination": ".Ss Destinations",
    "service.login": ".Ss The login",
}


def reference_keys():
    """Returns section -> keys, as in conf/reference.toml."""
    keys, section = {}, None
    for line in (ROOT / "conf" / "reference.toml").read_text(encoding="utf-8").splitlines():
        line = re.sub(r"^#(?=\S)", "", line)  # a section that is not in force
        if found := re.match(r"\[+([a-z_.]+)\]+", line):
            section = found[1]
        elif found := re.match(r"([a-z_0-9]+) +=", line):
            keys.setdefault(section, set()).add(found[1])
    return keys


def manual_keys():
    """Returns heading -> the keys listed under it."""
    keys, heading = {}, None
    for line in (MANUAL / "starttls-proxy.toml.5").read_text(encoding="utf-8").splitlines():
        if line.startswith((".Sh ", ".Ss ")):
            heading = line
        elif found := re.match(r"\.It Va ([a-z_0-9]+)$", line):
            keys.setdefault(heading, set()).add(found[1])
    return keys


def help_options():
    text = subprocess.run([BINARY, "--help"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"^ {2}(?:-[hV], )?(--[a-z-]+)", text, re.M))


def complete(*words):
    """Returns the completions that bash offers for the last of `words`."""
    script = (f'source "{COMPLETION}"; complete -p starttls-proxy >&2\n'
              'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _starttls_proxy\n'
              'printf "%s\\n" "${COMPREPLY[@]}"')
    result = subprocess.run(["bash", "--norc", "-c", script, "bash", BINARY, *words], check=True,
                            capture_output=True, text=True, cwd=ROOT / "conf")
    assert result.stderr == "complete -F _starttls_proxy starttls-proxy\n", result.stderr
    return set(result.stdout.split())


class Manual(unittest.TestCase):
    def test_every_key_of_the_reference_is_described_in_its_section(self):
        described = manual_keys()
        reference = reference_keys()
        self.assertIn("workers", reference["proxy"])
        self.assertEqual({HEADINGS[section]: keys for section, keys in reference.items()},
                         described)

    def test_every_option_is_described(self):
        page = (MANUAL / "starttls-proxy.8").read_text(encoding="utf-8")
        described = {f"--{name}" for name in re.findall(r"^\.It .*Fl -([a-z-]+)", page, re.M)}
        # --json is listed at probe.
        described |= {f"--{name}" for name in re.findall(r"^\.Fl -(json)$", page, re.M)}
        self.assertEqual(help_options(), described)

    def test_the_pages_are_well_formed(self):
        checkers = [command for command in (
            ["mandoc", "-T", "lint", "-W", "warning"],
            ["groff", "-ww", "-b", "-z", "-mandoc", "-Tutf8"],
        ) if shutil.which(command[0])]
        self.assertTrue(checkers, "neither mandoc nor groff is here")
        for page in sorted(MANUAL.iterdir()):
            for checker in checkers:
                result = subprocess.run([*checker, page], capture_output=True, text=True)
                self.assertEqual((result.returncode, result.stdout + result.stderr), (0, ""),
                                 f"{checker[0]} {page.name}")


class Completion(unittest.TestCase):
    def test_every_option_is_offered(self):
        self.assertEqual(complete("--"), help_options())
        self.assertEqual(complete(""), help_options() | {"probe", "convert", "help"})
        self.assertEqual(complete("--downstream-"), {"--downstream-tls", "--downstream-min-tls"})
        self.assertEqual(complete("pr"), {"probe"})
        self.assertEqual(complete("probe", "--"), help_options() - {"--check"})
        self.assertEqual(complete("convert", "a.conf", ""), set())
        self.assertEqual(complete("help", ""), set())

    def test_every_option_with_a_value_offers_its_values_or_none(self):
        # If the script did not know that an option has a value, it would offer options after it.
        alone = {"--check", "--json", "--login-token", "--version", "--help"}
        for option in help_options() - alone:
            with self.subTest(option):
                self.assertEqual(complete(option, "--"), set())

    def test_values_are_offered(self):
        self.assertEqual(complete("--protocol", "s"), {"smtp", "sieve"})
        self.assertEqual(complete("--upstream-tls", "=", "imp"), {"implicit"})
        self.assertEqual(complete("probe", "--verify", "="), {"full", "none"})
        self.assertEqual(complete("--config", "ref"), {"reference.toml"})
        self.assertEqual(complete("convert", "ref"), {"reference.toml"})
        self.assertEqual(complete("convert", "--"), {"--strict"})
        self.assertEqual(complete("convert", "--strict", "ref"), {"reference.toml"})

    def test_values_are_those_of_the_program(self):
        command = [BINARY, "--check", "--protocol", "smtp", "--listen", "127.0.0.1:0",
                   "--upstream", "a.test:25"]
        for option in ("--upstream-tls", "--verify", "--min-tls", "--downstream-min-tls",
                       "--log-level", "--log-format", "--record-codec", "--record-cipher",
                       "--greeting-text"):
            for value in complete(option, ""):
                result = subprocess.run([*command, option, value], capture_output=True, text=True)
                self.assertEqual(result.returncode, 0, f"{option} {value}: {result.stderr}")


class Token(unittest.TestCase):
    """The page and the completion of starttls-token."""

    @classmethod
    def setUpClass(cls):
        text = subprocess.run([TOKEN, "--help"], capture_output=True, text=True, check=True).stdout
        cls.options = set(re.findall(r"^ {2}(--[a-z-]+)", text, re.M))
        cls.statuses = set(re.findall(r"^ {2}(\d+) ", text, re.M))
        cls.page = (MANUAL / "starttls-token.1").read_text(encoding="utf-8")

    def complete(self, *words):
        script = (f'source "{COMPLETION.parent / "starttls-token"}"\n'
                  'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _starttls_token\n'
                  'printf "%s\n" "${COMPREPLY[@]}"')
        result = subprocess.run(["bash", "--norc", "-c", script, "bash", TOKEN, *words], check=True,
                                capture_output=True, text=True, cwd=ROOT / "conf")
        self.assertEqual(result.stderr, "")
        return set(result.stdout.split())

    def test_the_page_has_every_option_and_every_status(self):
        described = {f"--{name}" for name in re.findall(r"^\.It .*Fl -([a-z-]+)", self.page, re.M)}
        self.assertEqual(described, self.options | {"--help", "--version"})
        statuses = self.page.partition(".Sh EXIT STATUS")[2].partition(".Sh EXAMPLES")[0]
        self.assertEqual(set(re.findall(r"^\.It (\d+)$", statuses, re.M)), self.statuses)

    def test_the_page_has_every_key(self):
        source = (ROOT / "token" / "settings.cc").read_text(encoding="utf-8")
        keys = set(re.findall(r'\{"([a-z_]+)", &AccountSettings', source))
        keys |= set(re.findall(r'key == "([a-z_]+)"', source))
        self.assertIn("client_secret", keys)
        described = {key for line in re.findall(r"^\.It Va (.*)$", self.page, re.M)
                     for key in line.replace(",", " ").split()}
        self.assertEqual(described, keys)

    def test_completion(self):
        self.assertEqual(self.complete(""), {"authorize", "access", "list", "forget", "help"})
        self.assertEqual(self.complete("authorize", "a", "--"), self.options - {"--from-stdin"})
        self.assertEqual(self.complete("access", "--"), {"--config", "--store", "--from-stdin"})
        self.assertEqual(self.complete("list", "--"), {"--config", "--store"})
        self.assertEqual(self.complete("authorize", "a", "--provider", ""),
                         {"fastmail", "google", "office365", "yahoo"})
        self.assertEqual(self.complete("authorize", "a", "--provider", "=", "g"), {"google"})
        self.assertEqual(self.complete("list", "--config", "ref"), {"reference.toml"})
        for option in ("--client-id", "--tenant", "--scope"):
            self.assertEqual(self.complete("authorize", "a", option, "--"), set())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
