"""Compares the ids of cases in tests (`N12 B12 pop3 upstream: ...`) with tests/attacks.md.

Every id in the name of a test must be in the table of its kind, attack or fault. Ids in tags,
comments and mutants must be in one of the tables. Every row must have a test.
"""

import pathlib
import re
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

LETTERS = "ABCDGKLMNOPRSTX"
ATTACK = "Attacks and odd peers"
FAULT = "Faults that must not come back"
# In these modules the id of a Python test is an attack, if its letter is used for both kinds.
ATTACK_MODULES = ("cases_downstream_test", "prelude_attacks_test", "smuggling_test")
BOTH = "PST"
FAULTS_ONLY = "DR"

_ID = rf"(?:LP|[{LETTERS}])\d{{1,2}}"
_IDS = re.compile(rf"(?<![\w+.-])({_ID})(?:(?:-| to )({_ID}))?(?![\w+])")
_ROW = re.compile(rf"^\| ({_ID}) \|", re.M)

_STRING = r'"((?:[^"\\\n]|\\.)*)"'
_CASE = re.compile(rf"\bTEST_CASE\w*\s*\(\s*(?:\w+\s*,\s*)?((?:{_STRING}\s*,?\s*)+)")
_IN_FRONT = re.compile(rf"(?:{_ID}(?:-{_ID})?\s+)+")
_AFTER_SUBJECT = re.compile(rf"[^:]*: ((?:{_ID} )*{_ID}): ")
_METHOD = re.compile(r"^ +def (test_\w+)", re.M)
_KILLER = re.compile(r"\b(\w+_test)\.\w+\.(test_\w+)")
_TOKENS = re.compile(rf"test((?:(?:_and|_to)?_{_ID.replace('LP', 'lp').replace(LETTERS, LETTERS.lower())})+)(?:_|$)")
_CPP_COMMENT = re.compile(r"//[^\n]*")
_PYTHON_COMMENT = re.compile(r'#[^\n]*|"""(?:.*?)"""', re.S)
_RULE = re.compile(r"^[Rr]ule\b[^\n]*", re.M)


def ids_between(first, last):
    """Returns the ids of a range, or the only id."""
    if not last:
        return {first}
    (letters, begin), (same, end) = (re.fullmatch(r"([A-Z]+)(\d+)", id).groups() for id in (first, last))
    assert letters == same, (first, last)
    return {f"{letters}{number}" for number in range(int(begin), int(end) + 1)}


def ids_of_text(text):
    return {id for pair in _IDS.findall(text) for id in ids_between(*pair)}


def ids_of_method(name):
    """Returns the ids of a Python test: `test_n12_b12_...`, `test_s1_and_s2_...`, `test_x1_to_x4_...`."""
    match = _TOKENS.match(name)
    if not match:
        return set()
    text = match[1].upper().replace("_TO_", " to ").replace("_AND_", " ").replace("_", " ")
    return ids_of_text(text)


def kind(id, module):
    if id[0] in FAULTS_ONLY:
        return FAULT
    return ATTACK if id[0] not in BOTH or module in ATTACK_MODULES else FAULT


def listed(root):
    """Returns the rows of attacks.md: (kind, id)."""
    rows, section = [], None
    for line in (root / "tests/attacks.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        if match := _ROW.match(line):
            rows.append((section, match[1]))
    return rows


def used(root):
    """Returns the ids in tests: (kind, id) -> file, and id -> file if the kind is not clear."""
    named, mentioned = {}, {}

    def name(file, pairs):
        named.update((pair, file) for pair in pairs if pair not in named)

    def mention(file, text):
        mentioned.update((id, file) for id in ids_of_text(text) if id not in mentioned)

    for path in sorted((root / "tests").rglob("*")):
        if not path.is_file() or path.resolve() == pathlib.Path(__file__).resolve():
            continue
        file = path.relative_to(root).as_posix()
        mutant = path.parent.name == "mutants" and path.suffix in (".toml", ".patch")
        if path.suffix not in (".cc", ".h", ".py") and not mutant:
            continue
        text = path.read_text(encoding="utf-8")
        if path.suffix in (".cc", ".h"):
            for match in _CASE.finditer(text):
                words = "".join(re.findall(_STRING, match[1]))
                title, _, tags = words.partition("[")
                if front := _IN_FRONT.match(title):
                    name(file, ((ATTACK, id) for id in ids_of_text(front[0])))
                elif after := _AFTER_SUBJECT.match(title):
                    name(file, ((FAULT, id) for id in ids_of_text(after[1])))
                mention(file, tags.replace("[", " ").replace("]", " "))
            for comment in _CPP_COMMENT.findall(text):
                mention(file, comment)
        elif path.suffix == ".py":
            for method in _METHOD.findall(text):
                name(file, ((kind(id, path.stem), id) for id in ids_of_method(method)))
            for comment in _PYTHON_COMMENT.findall(text):
                mention(file, comment)
        else:
            for module, method in _KILLER.findall(text):
                name(file, ((kind(id, module), id) for id in ids_of_method(method)))
            for rule in _RULE.findall(text):
                mention(file, rule)
    return named, mentioned


def violations(root):
    """Returns ids without a row, rows without a test, and rows that are there twice."""
    rows = listed(root)
    named, mentioned = used(root)
    known = {id for _, id in rows}
    found = [f"{file}: {id} is not in attacks.md, {section}"
             for (section, id), file in named.items() if (section, id) not in rows]
    found += [f"{file}: {id} is not in attacks.md"
              for id, file in mentioned.items() if id not in known]
    found += [f"attacks.md: {id} has no test ({section})" for section, id in sorted(set(rows))
              if (section, id) not in named and id not in mentioned]
    found += [f"attacks.md: {id} is there twice ({section})" for section, id in sorted(set(rows))
              if rows.count((section, id)) > 1]
    return found


class CaseIds(unittest.TestCase):
    def test_every_id_is_listed_and_every_row_has_a_test(self):
        self.assertEqual(violations(ROOT), [])

    def test_there_is_something_to_find(self):
        named, mentioned = used(ROOT)
        for pair in ((ATTACK, "N12"), (ATTACK, "P5"), (ATTACK, "X2"), (ATTACK, "T17"), (ATTACK, "S1"),
                     (FAULT, "S1"), (FAULT, "R4"), (FAULT, "T11"), (FAULT, "P4")):
            self.assertIn(pair, named)
        self.assertIn("L5", mentioned)

    def test_ids_are_read_from_names(self):
        for name, ids in (("test_n12_b12_replies", {"N12", "B12"}),
                          ("test_x1_to_x4_of", {"X1", "X2", "X3", "X4"}),
                          ("test_s1_and_s2_are", {"S1", "S2"}), ("test_p1_to_the_end", {"P1"}),
                          ("test_t10", {"T10"}),
                          ("test_lp3_and_l5_to_l6", {"LP3", "L5", "L6"}), ("test_lp9_to_lp11", {"LP9", "LP10", "LP11"}),
                          ("test_tls_1_2", set()), ("test_p256_keys", set()),
                          ("test_sha_1", set()), ("test_utf8", set()), ("test_v1_header", set()),
                          ("test_a_p1", set()), ("test_m10x_b1", set())):
            self.assertEqual(ids_of_method(name), ids, name)

    def test_a_violation_is_found(self):
        files = {
            "tests/attacks.md": f"## {ATTACK}\n| N1 | a |\n| P1 | b |\n| N2 | unused |\n| N1 | again |\n"
                                f"| B1 | c |\n| L1 | e |\n## {FAULT}\n| P2 | d |\n| R1 | f |\n",
            "tests/proto/a_test.cc": 'TEST_CASE("N1 N3 a: b", "[L1][X9]") {}\n'
                                     'TEST_CASE(\n    "subject: P1: a fault "\n    "of two lines") {}\n'
                                     'TEST_CASE("P2 a: an attack") {}  // A9: see there\n',
            "tests/e2e/smuggling_test.py": "class A:\n    def test_p1_b1_to_b3_a(self):\n        # K1\n",
            "tests/e2e/other_test.py": "class A:\n    def test_p2_to_p3_and_r1_a(self):\n",
            "tests/mutants/rules.toml": 'rule = "A rule (M1, G1 to G2)."\n'
                                        'killers = ["other_test.A.test_s7_and_so_on"]\n',
        }
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text, encoding="utf-8")
            found = violations(root)
        a, smuggling, other, rules = list(files)[1:]
        missing = "{}: {} is not in attacks.md, {}".format
        self.assertEqual(set(found), {
            missing(a, "N3", ATTACK), missing(a, "P1", FAULT), missing(a, "P2", ATTACK),
            missing(smuggling, "B2", ATTACK), missing(smuggling, "B3", ATTACK),
            missing(other, "P3", FAULT), missing(rules, "S7", FAULT),
            f"{a}: X9 is not in attacks.md", f"{a}: A9 is not in attacks.md",
            f"{smuggling}: K1 is not in attacks.md", f"{rules}: M1 is not in attacks.md",
            f"{rules}: G1 is not in attacks.md", f"{rules}: G2 is not in attacks.md",
            f"attacks.md: N2 has no test ({ATTACK})", f"attacks.md: N1 is there twice ({ATTACK})"})
        self.assertEqual(len(found), 15)


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
