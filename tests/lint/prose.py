"""Counts comments in the old voice: sentences that do not name their subject.

    prose.py            a test: fails if a comment has a narrow mark, or too many have a broad one
    prose.py --count    the share of marked comments, by folder
    prose.py --show PATH...   each marked comment below these paths, with its marks

A comment is a run of comment lines, or a docstring. Comments of fewer than eight words do not count. There
are two lists of marks: the narrow one is almost always the old voice, the broad one often is. A word inside
double quotes is a quotation, and no mark.
"""

import ast
import io
import pathlib
import re
import sys
import tokenize
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("lib", "proxy", "token", "tools", "bench", "conf", "tests")
MIN_WORDS = 8
BROAD_LIMIT = 0.02  # of all comments

NARROW = re.compile(
    r"(?i:\b(?:whoever|whom|whose|nobody|somebody|anybody|told|stands?|octets?|behind|ahead\sof|amounts?\sto"
    r"|as\sever|but\sfor)\b"
    r"|(?<!those\s)(?<!people\s)(?<!users\s)(?<!person\s)\bwho\b)"
    r"|\A(?:What|Whether|Who|Of|All|None)\b")
BROAD = re.compile(
    NARROW.pattern
    + r"|(?i:\b(?:where|wherever|whatever|everybody|tells?|he|his|him|at\shand|at\sall|no\smatter|is\sto\b|are\sto\b"
    r"|has\sto\sdo\swith|not\sso|for\she|that\sis\sall|seen\sto|is\sno\b.*\bbut)\b)")

QUOTATION = re.compile(r'"[^"\n]*"|`[^`\n]*`')


def cxx_comments(text):
    """(line, comment) of each run of // lines."""
    run, first, last_column = [], 0, None
    for number, line in enumerate([*text.splitlines(), ""], 1):
        found = re.match(r"(.*?)\s*//[/!]?<?\s?(.*)$", line)
        code = found and found[1]
        # A string may hold two slashes; a comment after code is a comment of its own.
        if found and (code.count('"') - code.count('\\"')) % 2 == 0:
            column = len(code)
            if run and (code or last_column is None):
                yield first, " ".join(run)
                run = []
            if not run:
                first = number
            run.append(found[2])
            last_column = None if code and column else 0
            continue
        if run:
            yield first, " ".join(run)
            run = []
        last_column = None


def script_comments(text):
    """(line, comment) of each run of lines that begin with #."""
    run, first = [], 0
    for number, line in enumerate([*text.splitlines(), ""], 1):
        found = re.match(r"\s*#(?!!)\s?(.*)$", line)
        if found:
            if not run:
                first = number
            run.append(found[1])
        elif run:
            yield first, " ".join(run)
            run = []


def python_comments(text):
    yield from script_comments(text)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            if words := ast.get_docstring(node):
                yield (node.body[0].lineno, " ".join(words.split()))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and token.line[:token.start[1]].strip():
            yield token.start[0], token.string.lstrip("# ")


def comments_of(path):
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix in (".h", ".cc"):
        found = cxx_comments(text)
    elif path.suffix == ".py" or text.startswith("#!/usr/bin/env python3"):
        found = python_comments(text)
    elif path.suffix in (".sh", ".toml", ".txt", ".service", ".socket", ".yaml", ".conf") \
            or text.startswith("#!"):
        found = script_comments(text)
    else:
        return
    for line, comment in found:
        if len(comment.split()) >= MIN_WORDS:
            yield line, comment


def files(paths):
    """(name, path) of each file below these paths, which are relative to the project's folder."""
    for start in paths:
        found = ROOT / start
        for path in sorted(found.rglob("*")) if found.is_dir() else [found]:
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(ROOT).as_posix(), path


def marks(pattern, comment):
    return [found[0] for found in pattern.finditer(QUOTATION.sub('""', comment))]


def count(paths=FOLDERS):
    """folder -> [comments, narrow, broad]"""
    counts = {}
    for name, path in files(paths):
        row = counts.setdefault("/".join(name.split("/")[:2]), [0, 0, 0])
        for _, comment in comments_of(path):
            row[0] += 1
            row[1] += bool(marks(NARROW, comment))
            row[2] += bool(marks(BROAD, comment))
    return counts


def total(counts):
    return [sum(row[i] for row in counts.values()) for i in range(3)]


def print_counts(counts):
    for name, (comments, narrow, broad) in [*sorted(counts.items()), ("all", total(counts))]:
        if comments:
            print(f"{name:24} {comments:5} comments   narrow {narrow / comments:6.1%}   "
                  f"broad {broad / comments:6.1%}")


def show(paths):
    for name, path in files(paths):
        for line, comment in comments_of(path):
            if found := marks(BROAD, comment):
                print(f"{name}:{line}: [{', '.join(found)}] {comment}")


class Prose(unittest.TestCase):
    def test_the_old_voice_is_rare(self):
        marked = [f"{name}:{line}: {found}" for name, path in files(FOLDERS)
                  for line, comment in comments_of(path) if (found := marks(NARROW, comment))]
        self.assertEqual(marked, [])
        comments, _, broad = total(count())
        self.assertGreater(comments, 1000)
        self.assertLess(broad / comments, BROAD_LIMIT)

    def test_it_finds_the_old_voice(self):
        for words in ("Whoever asks while a round is under way shares the one answer.",
                      "What a person has to know of it before the first word is read.",
                      "The octets of a line that came in the clear are not kept."):
            self.assertTrue(marks(NARROW, words), words)
        for words in ("Returns the number of bytes that the peer has not taken yet.",
                      'The reply is "who are you", and the session goes on after it.'):
            self.assertFalse(marks(BROAD, words), words)


if __name__ == "__main__":
    if "--count" in sys.argv:
        print_counts(count())
    elif "--show" in sys.argv:
        show(sys.argv[sys.argv.index("--show") + 1:])
    else:
        sys.exit(unittest.main(verbosity=2))
