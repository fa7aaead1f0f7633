"""Checks docs/recipes beyond what docs.py checks of every page: the recipes are whole, the configurations of
starttls-token in them are accepted, its commands exist, and each page says what was not tried.

    recipes.py BINARY MAKE_PKI TOKEN
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib
import unittest

import docs

TOKEN = os.path.abspath(sys.argv[3])
NOT_TRIED = re.compile(r"\*\*(?:[^*]*\bnot tried|None of them was\s+tried)\b")


def pages():
    return [page for page in docs.pages() if page.name.startswith("docs/recipes/")]


def token_problem(text):
    """Returns the error of starttls-token about a configuration. Empty if there is none."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        store = folder / "store"
        store.mkdir(mode=0o700)
        for account in tomllib.loads(text).get("account", []):
            for key in ("certificate", "key"):
                if key in account:
                    stand_in = "server.key" if key == "key" else "server.pem"
                    put(folder / account[key], docs.make_pki()[stand_in])
        for file in re.findall(r"\$\{file:([^}]+)\}", text):
            put(folder / file, "s3cret\n")
        put(folder / "tokens.toml", text)
        result = subprocess.run(
            [TOKEN, "list", "--config", folder / "tokens.toml", "--store", store],
            capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        return result.stderr if result.returncode else ""


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    path.chmod(0o600)


def token_options():
    text = subprocess.run([TOKEN, "--help"], check=True, capture_output=True, text=True).stdout
    return set(re.findall(r"--[a-z-]+", text)), set(re.findall(r"^  ([a-z]+) ", text, re.M))


def token_commands(page):
    """Yields the words of each command of starttls-token in a page."""
    for language, _, text in page.blocks:
        if language == "sh":
            for line in re.sub(r"\\\n\s*", " ", text).splitlines():
                if line.split()[:1] == ["starttls-token"]:
                    yield line.split()[1:]


class Recipes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.pages = pages()

    def test_each_page_says_what_was_not_tried(self):
        self.assertGreater(len(self.pages), 3)
        for page in self.pages:
            self.assertRegex("\n".join(page.lines[:10]), NOT_TRIED, page.name)

    def test_each_page_has_whole_configurations_and_a_table_of_errors(self):
        for page in self.pages:
            configurations = [text for language, _, text in page.blocks if language == "toml"]
            self.assertTrue(configurations, page.name)
            for text in configurations:
                self.assertIn("[[service]]", text, page.name)
            self.assertIn("errors", page.anchors(), page.name)

    def test_the_configurations_of_starttls_token_are_accepted(self):
        count = 0
        for page in self.pages:
            for language, number, text in page.blocks:
                if language == "text" and "[[account]]" in text:
                    count += 1
                    self.assertEqual(token_problem(text), "", f"{page.name}:{number}")
        self.assertGreater(count, 1)
        self.assertIn("client_idd", token_problem('[[account]]\nname = "a"\nclient_idd = "b"\n'))

    def test_the_commands_of_starttls_token_exist(self):
        options, commands = token_options()
        found = [(page.name, words) for page in self.pages for words in token_commands(page)]
        self.assertGreater(len(found), 2)
        for name, words in found:
            self.assertIn(words[0], commands, name)
            for word in words:
                if word.startswith("--"):
                    self.assertIn(word, options, name)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
