"""Proves that the security tests can fail. Takes one rule out of the daemon at a time, expects red.

A rule that is a function gets another body (rules.toml). All these bodies are in one program, each
before the function's own. A name in the program's data says which one is used, so that each mutant is
a copy of the program with another name. Any other rule is taken out by a patch (NAME.patch, with the
same facts in its first lines), which makes a program of its own. Changed sources are compiled with the
build's own command, without the optimiser. Their objects are linked instead of the program's own, or
before the static libraries. Members of the same name are then not linked.

Then the tests that guard the rule run against this daemon, in a process of their own. They must report
a failed assertion, with the expected words. An honest session must still succeed: a daemon that is
merely broken proves nothing. The same tests must be green without a mutant. Those of the record layer
run with each record cipher.

A mutant proves that a test can fail, and a busy machine can spoil the proof: an honest session that
was too slow, a time-out before the failure. So a mutant that was not caught is tried once more, alone,
and so are the tests without a mutant.
"""

import argparse
import concurrent.futures
import dataclasses
import functools
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TESTS = ROOT / "tests" / "e2e"
COMPILERS = 2
TOGETHER = 12       # changed sources that are compiled at a time: most of the work is in their headers
# Headers that most sources include. They are parsed once for all mutants.
HEADERS = """algorithm array chrono functional map memory optional span string string_view utility variant vector
tl/expected.hpp fmt/format.h""".split()
DAEMONS = 6         # under test at a time; they mostly wait
RED_DEADLINE = 30   # seconds that one wait inside a test may take if the test must turn red
LIMIT = 600         # seconds for a compiler or a selection of tests
ROUNDS = 3          # in which a test must turn red

HONEST = "prelude_attacks_test.AnyServer.test_honest_servers_pass"

# The name of the active mutant. A copy of the program gets another text in its place.
NO_MUTANT = "no mutant is active, and this is where the name of one would be"
SWITCH = f"""#include <cstring>
extern "C" char active_mutant[{len(NO_MUTANT) + 1}];
inline bool is_mutant(const char* name) {{ return std::strcmp(active_mutant, name) == 0; }}
"""

# The message of a test if a session that must fail succeeds: the client was greeted.
GREETED = r"(Regex didn't match|instead of FIN).*(220|\* OK|\* PREAUTH|\+OK|200|IMPLEMENTATION)"

# Comments, strings and characters: brackets in them do not count.
NO_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|R"\(.*?\)"|"(?:[^"\\\n]|\\.)*"|'
                     r"'(?:[^'\\\n]|\\.[^'\n]*)'", re.S)


@dataclasses.dataclass
class Mutant:
    name: str
    rule: str      # what must be true; the mutant lacks it
    killers: list  # names of tests; each must turn red
    because: str = GREETED  # regular expression that the failures must match, over lines
    bodies: dict = dataclasses.field(default_factory=dict)  # function: its new body
    patch: pathlib.Path | None = None  # instead of bodies
    both_ciphers: bool = False  # it is in the record layer: its tests run with each record cipher
    honest: str = HONEST  # the test of an honest session, which must stay green

    def ciphers(self):
        """Returns the values of proxy.record_cipher to test with; "" is the default."""
        return ("", "library") if self.both_ciphers else ("",)


class Skipped(Exception):
    """Raised if a mutant cannot be tried here, with the reason."""


class Broken(Exception):
    """Raised if a mutant proves nothing, with the reason."""


def run(argv, **options):
    """Returns the finished process, with its output as one text. Raises Broken if it takes too long."""
    try:
        return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", stdin=subprocess.DEVNULL, timeout=LIMIT,
                              check=False, **options)
    except subprocess.TimeoutExpired:
        raise Broken(f"{argv[0]} took more than {LIMIT} s") from None


def must(argv, **options):
    result = run(argv, **options)
    if result.returncode != 0:
        raise Broken(f"{shlex.join(map(str, argv))}\n{result.stdout[-3000:]}")
    return result.stdout


# --- Mutants

def load():
    """Returns all mutants; patches first, because one of them takes longest."""
    found = [read_patch(path) for path in sorted(HERE.glob("*.patch"))]
    for name, table in tomllib.loads((HERE / "rules.toml").read_text()).items():
        more = {each["function"]: each["body"] for each in table.pop("also", [])}
        found.append(Mutant(name, bodies={table.pop("function"): table.pop("body"), **more}, **table))
    return found


def read_patch(path):
    """Reads the first lines, `Rule:`, `Killers:` and perhaps `Because:`, up to a blank line."""
    facts = re.findall(r"^(\w+): (.*)$", path.read_text().partition("\n\n")[0], re.M)
    fields = {key.lower(): value for key, value in facts}
    fields["killers"] = [killer for key, value in facts if key == "Killers"
                         for killer in value.split(", ")]
    return Mutant(path.stem, patch=path, **fields)


@functools.cache
def sources():
    """Returns the code of the daemon's sources, without comments and strings, by their paths."""
    return {path.relative_to(ROOT): NO_CODE.sub(lambda skipped: " " * len(skipped[0]), path.read_text())
            for folder in ("lib", "proxy") for path in sorted((ROOT / folder).rglob("*.cc"))}


def closing(code, start):
    """Returns the index of the bracket that closes the one at `start`."""
    depth = 0
    for at in range(start, len(code)):
        depth += (code[at] in "({") - (code[at] in ")}")
        if depth == 0:
            return at
    raise Broken("a bracket is not closed")


def definitions(code, name, start=0, end=None):
    """Finds the functions of this name. Yields the indexes of the brackets of their bodies."""
    end = len(code) if end is None else end
    for match in re.compile(rf"(?<![\w:.>]){name}\(").finditer(code, start, end):
        head = closing(code, match.end() - 1) + 1
        body = re.compile(r"(\s|const\b|noexcept\b|override\b|final\b)*\{").match(code, head)
        if body:
            yield body.end() - 1, closing(code, body.end() - 1)
    # The function may also be defined inside its class.
    scope, _, member = name.rpartition("::")
    if scope:
        for match in re.compile(rf"\b(class|struct) {scope}\b[^;{{]*\{{").finditer(code, start, end):
            inside = match.end() - 1
            yield from definitions(code, member, inside, closing(code, inside))


def places(mutant):
    """Finds the functions of this mutant. Returns their file, and for each the body's brackets and the new
    body."""
    found = []
    for name, body in mutant.bodies.items():
        here = [(file, brackets, body) for file, code in sources().items()
                for brackets in definitions(code, name)]
        if len(here) != 1:
            raise Broken(f"{name} has {len(here)} definitions instead of one: look what has become of "
                         "the rule, and bring tests/mutants/rules.toml up to date")
        found += here
    files = {file for file, _, _ in found}
    if len(files) != 1:
        raise Broken("its functions must be in one source")
    return files.pop(), [(brackets, body) for _, brackets, body in found]


def with_switches(file, bodies):
    """Returns the text of the source. `bodies` has for the brackets of a function's body the other bodies
    that it may have, by the names of their mutants."""
    text = (ROOT / file).read_text()
    for (start, end), others in sorted(bodies.items(), reverse=True):
        switch = "".join(f'if (is_mutant("{name}")) {{\n{body}\n}} else ' for name, body in others)
        text = f"{text[:start]}{{{switch}{text[start:end + 1]}}}{text[end + 1:]}"
    return text


def patched(mutant, folder):
    """Writes the changed source below the folder. Returns its path, relative to folder and root alike."""
    files = re.findall(r"^\+\+\+ b/(\S+)$", mutant.patch.read_text(), re.M)
    if len(files) != 1:
        raise Broken(f"{mutant.patch.name} must change one source")
    file = pathlib.Path(files[0])
    (folder / file).parent.mkdir(parents=True)
    shutil.copy(ROOT / file, folder / file)
    must(["patch", "-p1", "--force", "--reject-file=-", "-d", folder, "-i", mutant.patch])
    return file


# --- Building and judging

class Build:
    """The commands of a configured and built tree."""

    def __init__(self, folder, ninja):
        self.folder = folder
        self._headers = None
        self._slots = threading.Semaphore(COMPILERS)
        commands = json.loads((folder / "compile_commands.json").read_text())
        self._compile = {entry["file"]: shlex.split(entry["command"]) for entry in commands}
        # The last command makes the program: ": && c++ ... -o program ... && :".
        line = must([ninja, "-C", str(folder), "-t", "commands", "starttls-proxy"])
        line = line.rstrip("\n").rpartition("\n")[2]
        words = shlex.split(line)
        while words[:2] == [":", "&&"]:
            words = words[2:]
        while words[-2:] == ["&&", ":"]:
            words = words[:-2]
        self._link = words

    def _command(self, file, source, out):
        """Returns the build's command for `file`, changed so that it compiles quickly."""
        command = list(self._compile[str(ROOT / file)])
        command[command.index("-o") + 1] = str(out)
        command[command.index("-c") + 1] = str(source)
        return [*command, "-O0", "-g0", "-w", "-Wp,-U_FORTIFY_SOURCE"]

    def precompile(self, scratch):
        """Compiles the headers with the flags of the library. Sources with other flags do not use them."""
        self._headers = scratch / "headers.h"
        self._headers.write_text("".join(f"#include <{name}>\n" for name in HEADERS) + SWITCH)
        words = self._command("lib/base/log.cc", self._headers, f"{self._headers}.gch")
        words[words.index("-c"):words.index("-c")] = ["-x", "c++-header"]
        must(words, cwd=self.folder)

    def compile(self, file, source, out):
        """Compiles `source` with the flags of `file`."""
        with self._slots:
            must([*self._command(file, source, out), "-include", str(self._headers)], cwd=self.folder)

    def alike(self, files):
        """Returns groups of files that can be compiled together: they have the same flags."""
        groups = {}
        for file in files:
            groups.setdefault(tuple(self._command(file, "", "")), []).append(file)
        return [group[at:at + TOGETHER] for group in groups.values()
                for at in range(0, len(group), TOGETHER)]

    def link(self, files, objects, out):
        """Links the program with `objects` instead of its own ones of `files`, before all libraries."""
        commands = [self._compile[str(ROOT / file)] for file in files]
        own = {command[command.index("-o") + 1] for command in commands}
        command = [word for word in self._link if word not in own]
        command[command.index("-o") + 1] = str(out)
        first = next(i for i, word in enumerate(command) if word.endswith(".a"))
        with self._slots:
            must([*command[:first], *map(str, objects), *command[first:]], cwd=self.folder)


class PatchedPrograms:
    """Makes a program for each mutant that is a patch."""

    def __init__(self, build):
        self._build = build

    def make(self, mutant, folder):
        """Returns the mutant's program, which is made in the folder."""
        file = patched(mutant, folder)
        self._build.compile(file, folder / file, folder / "mutant.o")
        self._build.link([file], [folder / "mutant.o"], folder / "starttls-proxy")
        return folder / "starttls-proxy"


class SwitchedProgram:
    """A program that can be each of the mutants that are functions."""

    def __init__(self, mutants, build, folder):
        self._failed = {}  # mutants that are not in it, with the reasons
        files = {}
        for mutant in mutants:
            try:
                file, found = places(mutant)
            except Broken as reason:
                self._failed[mutant.name] = reason
                continue
            for brackets, body in found:
                files.setdefault(file, {}).setdefault(brackets, []).append((mutant.name, body))
        for file, bodies in files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(with_switches(file, bodies))
        groups = build.alike(files)
        (folder / "0.cc").write_text(f'char active_mutant[] = "{NO_MUTANT}";\n')
        for number, group in enumerate(groups, 1):
            (folder / f"{number}.cc").write_text("".join(f'#include "{folder / file}"\n' for file in group))
        objects = [folder / f"{number}.o" for number in range(len(groups) + 1)]
        with concurrent.futures.ThreadPoolExecutor(COMPILERS) as pool:
            list(pool.map(build.compile, ["lib/base/log.cc", *(group[0] for group in groups)],
                          [made.with_suffix(".cc") for made in objects], objects))
        build.link(files, objects, folder / "program")
        self._program = (folder / "program").read_bytes()
        if self._program.count(NO_MUTANT.encode()) != 1:
            raise Broken("the program does not have the name of the active mutant once")

    def make(self, mutant, folder):
        """Returns the mutant's program, which is made in the folder."""
        if mutant.name in self._failed:
            raise self._failed[mutant.name]
        name = mutant.name.encode().ljust(len(NO_MUTANT), b"\0")
        (folder / "bytes").write_bytes(self._program.replace(NO_MUTANT.encode(), name))
        # Another process writes the program. A child that a thread starts just now has our open files
        # until it executes, and a program that is open for writing cannot be executed.
        must(["install", "-m", "755", folder / "bytes", folder / "starttls-proxy"])
        return folder / "starttls-proxy"


def run_tests(daemon, names, cipher="", deadline=None):
    """Returns unittest's report on each of these tests, run against that daemon. `deadline` is how many
    seconds one wait inside a test may take; without it, the tests' own one holds."""
    environment = {**os.environ, "STARTTLS_PROXY": str(daemon), "STARTTLS_RECORD_CIPHER": cipher}
    limit = ["--deadline", str(deadline)] if deadline else []
    result = run([sys.executable, __file__, *limit, "--tests", *names], env=environment)
    reports = result.stdout.rpartition("\nREPORTS ")[2]
    try:
        return json.loads(reports)
    except json.JSONDecodeError:
        raise Broken(f"the tests did not run to their end:\n{result.stdout[-3000:]}") from None


def judge(mutant, daemon, cipher):
    must([str(daemon), "--version"])
    honest, *reports = run_tests(daemon, [mutant.honest, *mutant.killers], cipher, RED_DEADLINE)
    if honest["ran"] != 1 or honest["failures"] or honest["errors"]:
        raise Broken("not even an honest session succeeds with it: it is broken, and proves "
                     f"nothing\n{honest}")
    for killer, report in zip(mutant.killers, reports, strict=True):
        # A failure that needs two events in one order may take another round.
        for _ in range(ROUNDS - 1):
            if report["failures"] or report["skipped"]:
                break
            [report] = run_tests(daemon, [killer], cipher, RED_DEADLINE)
        if report["skipped"]:
            raise Skipped(report["skipped"][0])
        said = "\n".join(report["failures"])
        if not report["failures"]:
            raise Broken(f"{killer} is not red: it cannot see that this rule is missing "
                         f"(cipher: {cipher or 'auto'})\n{report}")
        if not re.search(mutant.because, said, re.S):
            raise Broken(f"{killer} is red, but not because of {mutant.because!r}:\n{said[-3000:]}")


def check(mutant, programs, scratch):
    """Tries one mutant. Returns whether it was caught, or could not be tried."""
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            daemon = programs.make(mutant, pathlib.Path(folder))
            for cipher in mutant.ciphers():
                judge(mutant, daemon, cipher)
    except Skipped as reason:
        print(f"skip  {mutant.name}: {reason}", flush=True)
        return True
    except Broken as reason:
        print(f"FAIL  {mutant.name} ({mutant.rule})\n      {reason}", flush=True)
        return False
    print(f"red   {mutant.name} ({time.monotonic() - started:.1f} s)", flush=True)
    return True


def check_green(names, cipher):
    """Checks that the tests are green without a mutant. Otherwise red would mean nothing."""
    reports = run_tests(os.environ["STARTTLS_PROXY"], names, cipher)
    skipped = 0
    for name, report in zip(names, reports, strict=True):
        skipped += bool(report["skipped"])
        if report["failures"] or report["errors"] or not (report["ran"] or report["skipped"]):
            raise Broken(f"{name}\n{json.dumps(report, indent=1)}")
    print(f"green {len(names) - skipped} tests without a mutant (cipher: {cipher or 'auto'})",
          flush=True)


def check_all(build, only):
    mutants = [mutant for mutant in load() if only in mutant.name]
    patches = [mutant for mutant in mutants if mutant.patch]
    rules = [mutant for mutant in mutants if not mutant.patch]
    with (tempfile.TemporaryDirectory(prefix="starttls-mutants-") as name,
          concurrent.futures.ThreadPoolExecutor(DAEMONS) as pool):
        scratch = pathlib.Path(name)
        tests = {cipher: sorted({HONEST, *(test for mutant in mutants if cipher in mutant.ciphers()
                                           for test in (mutant.honest, *mutant.killers))})
                 for cipher in ("", "library")}
        green = {cipher: pool.submit(check_green, names, cipher) for cipher, names in tests.items()}
        build.precompile(scratch)
        programs = PatchedPrograms(build)
        checks = [(mutant, programs, pool.submit(check, mutant, programs, scratch))
                  for mutant in patches]
        if rules:
            program = SwitchedProgram(rules, build, scratch)
            checks += [(mutant, program, pool.submit(check, mutant, program, scratch))
                       for mutant in rules]
        missed = [(mutant, maker) for mutant, maker, caught in checks if not caught.result()]
        bad = []
        for cipher, checked in green.items():
            try:
                checked.result()
            except Broken as reason:
                print(f"again without a mutant\n      {reason}", flush=True)
                try:
                    check_green(tests[cipher], cipher)
                except Broken as again:
                    print(f"FAIL  without a mutant\n      {again}", flush=True)
                    bad.append("without a mutant")
        for mutant, maker in missed:
            print(f"again {mutant.name}", flush=True)
            if not check(mutant, maker, scratch):
                bad.append(mutant.name)
    print(f"{len(mutants)} mutants, {len(bad)} failures")
    return 1 if bad or not mutants else 0


def tests_process(names, deadline):
    """Runs each test up to its first failure, and prints the reports. Has a process of its own."""
    import unittest  # pylint: disable=import-outside-toplevel

    sys.path.insert(0, str(TESTS))
    from support import wait  # pylint: disable=import-error,import-outside-toplevel
    wait.DEADLINE = deadline or wait.DEADLINE  # before the modules that use it as a default

    reports = []
    for name in names:
        result = unittest.TestResult()
        result.failfast = True
        unittest.defaultTestLoader.loadTestsFromName(name).run(result)
        reports.append({"ran": result.testsRun,
                        "failures": [said for _, said in result.failures],
                        "errors": [said for _, said in result.errors],
                        "skipped": [why for _, why in result.skipped]})
    print("\nREPORTS " + json.dumps(reports))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release")
    parser.add_argument("--ninja", default="ninja")
    parser.add_argument("--only", default="", help="mutants whose name holds this")
    parser.add_argument("--tests", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--deadline", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.tests:
        tests_process(arguments.tests, arguments.deadline)
        return 0
    os.environ.setdefault("STARTTLS_PROXY", str(arguments.build / "proxy" / "starttls-proxy"))
    os.environ.setdefault("STARTTLS_MAKE_PKI", str(arguments.build / "tools" / "pki" / "make-pki"))
    os.environ.setdefault("STARTTLS_BACKEND", str(arguments.build / "tools" / "mail_server" / "backend"))
    return check_all(Build(arguments.build.resolve(), arguments.ninja), arguments.only)


if __name__ == "__main__":
    sys.exit(main())
