"""Checks the documentation: links, sizes, examples, and the tables of messages, outcomes and metrics.

    docs.py BINARY MAKE_PKI
    docs.py BINARY MAKE_PKI --self-test   only that each check can fail
"""

import contextlib
import functools
import os
import pathlib
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import tomllib
import unittest

import messages

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY, MAKE_PKI = map(os.path.abspath, sys.argv[1:3])

MAX_COLUMNS = 120
MAX_LINES = 300
MAX_README = 150
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs/*.md", "docs/recipes/*.md",
         "bench/README.md", "tests/attacks.md")
WITHOUT_SIZE = ("tests/attacks.md", "CHANGELOG.md")  # lists that only grow
BENCH = ("<!-- bench:begin -->", "<!-- bench:end -->")  # a program writes the lines between
USAGE, UNAVAILABLE = 64, 69

# Keys of logins that a proxy without helper programs does not know.
HELPER = re.compile(r"^\s*(login\.)?(socket|command)\s*=", re.M)

# Expressions without words of their own: an error that is passed on, or the operating system's text.
PASSED_ON = {
    ("lib/base/regular_file.cc", "std::generic_category().message(error)"),
    ("lib/config/expand.cc", "'+ascii::escape(written)+': +content.error().reason"),
    ("lib/net/connector.cc", "answer.error().reason"),
    ("lib/net/connector.cc", "error_text(status)"),
    ("lib/net/connector.cc", "last_error_.reason"),
    ("lib/net/listener.cc", "std::generic_category().message(errno)"),
    ("lib/net/stream.cc", "error_text(status)"),
    ("lib/net/stream.cc", "error_text(std::exchange(connect_status_,0))"),
    ("lib/net/stream.cc", "error_text(std::exchange(write_status_,0))"),
    ("lib/proto/login/login_gate.cc", "progress.error().reason"),  # of ServerLogin
    ("lib/session/client/identity.cc", "step.error().reason"),
    ("lib/session/prelude.cc", "connection.fallback_reason"),
    ("lib/session/prelude.cc", "error.reason"),
    ("lib/session/prelude.cc", "std::string{reason}"),  # from deadline_of
    ("lib/session/session.cc", "std::string{expired.reason}"),  # from deadline_of
    ("lib/session/session.cc", "error.reason"),
    ("lib/session/session_record.cc", "login_failure_->reason"),  # of a role
    ("lib/tls/pem.cc", "path+: +file.error().reason"),
    ("lib/tls/pem.cc", "path+: +kept.error().reason"),
    ("lib/tls/pem.cc", "path+: +library_text()"),
    ("lib/tls/pem.cc", "path+: +text.error().reason"),
    ("proxy/convert/stunnel_source.cc", "std::generic_category().message(errno)"),
    ("proxy/log_file.cc", "std::generic_category().message(number)"),
    ("proxy/launcher/start.cc", "problems.front().where+: +problems.front().text"),
    ("proxy/probe/asked_secret.cc", "std::move(opened.error().reason)"),
}
WARNINGS_PASSED_ON = {
    ("lib/config/describe.cc", "warning"),
    ("lib/config/describe.cc", "std::move(mistake)"),
    ("proxy/admin/endpoint.cc", "binding.warning"),  # from sharing_warning
    ("proxy/listeners.cc", "std::exchange(entry.warning,{})"),
}


class Page:
    def __init__(self, name, text):
        self.name = name
        self.lines = text.splitlines()
        self.blocks = list(self._blocks())  # (language, first line's number, text)
        self.prose = self._prose()          # the page with its blocks blanked

    def _fences(self):
        fence = None
        for number, line in enumerate(self.lines, 1):
            found = re.match(r"\s*(`{3,}|~{3,})\s*(\w*)", line)
            if found and fence is None:
                fence = found[1]
                yield number, found[2], True
            elif found and line.strip() == fence:
                fence = None
                yield number, "", False

    def _blocks(self):
        start = None
        for number, language, begins in self._fences():
            if begins:
                start = number, language
            else:
                yield start[1], start[0] + 1, "\n".join(self.lines[start[0]:number - 1]) + "\n"

    def _prose(self):
        lines, inside = [], False
        fences = {number: begins for number, _, begins in self._fences()}
        for number, line in enumerate(self.lines, 1):
            is_fence = number in fences
            inside = fences[number] if is_fence else inside
            lines.append("" if inside or is_fence else line)
        return lines

    def anchors(self):
        """Returns the anchors of the headings, made as GitHub makes them."""
        found = set()
        for line in self.prose:
            if heading := re.match(r"#{1,6}\s+(.*?)\s*#*$", line):
                words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1])
                slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
                unique, count = slug, 0
                while unique in found:
                    count += 1
                    unique = f"{slug}-{count}"
                found.add(unique)
            found.update(re.findall(r'<a (?:id|name)="([^"]+)"', line))
        return found

    def links(self):
        for number, line in enumerate(self.prose, 1):
            for target in re.findall(r"\]\(\s*<?([^)\s>]+)", re.sub(r"`[^`]*`", "", line)):
                yield number, target

    def entries(self, *headings):
        """Returns the `quoted` texts of the first column of each table with such a first heading. "list"
        adds those that begin a list item: - `text`, `text`: meaning."""
        found, row = [], None
        for line in self.prose:
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
            if not line.startswith("|"):
                row = None
            elif row is None:
                row = cells[0] in headings
            elif row:
                found += re.findall(r"`([^`]+)`", cells[0])
        if "list" in headings:
            text = "\n".join(self.prose)
            for item in re.findall(r"^- ((?:`[^`]+`,?\s+)*`[^`]+`):", text, re.M):
                found += [" ".join(each.split()) for each in re.findall(r"`([^`]+)`", item)]
        return found


def alerts(text):
    """Yields (name, runbook_url or None) of each alert in a file of rules."""
    for rule in re.split(r"^ *- (?=alert:)", text, flags=re.M)[1:]:
        url = re.search(r'^ *runbook_url: "(.*)"$', rule, re.M)
        yield re.match(r"alert: (\w+)", rule)[1], url and url[1]


def runbook_problems(text, runbook):
    """Returns the alerts that do not lead to a heading of their own on the page of runbooks."""
    wanted = "file:///usr/share/doc/starttls-proxy/docs/troubleshooting.md#{}"
    return [f"{name}: {url}" for name, url in alerts(text)
            if url != wanted.format(name.lower()) or name.lower() not in runbook.anchors()]


def pages():
    found = [path for pattern in PAGES for path in sorted(ROOT.glob(pattern))]
    return [Page(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in found]


def broken_links(page, root):
    """Returns the links to files or anchors that do not exist."""
    found = []
    for number, target in page.links():
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (root / page.name).parent / name if name else root / page.name
        if not path.exists():
            found.append(f"{page.name}:{number}: {target}: there is no such file")
        elif anchor and path.suffix == ".md" \
                and anchor not in Page(name, path.read_text(encoding="utf-8")).anchors():
            found.append(f"{page.name}:{number}: {target}: there is no such heading")
    return found


def missing_paths(page, root):
    """Returns the paths of this tree that a page names and that do not exist."""
    found = []
    for number, line in enumerate(page.prose, 1):
        for path in re.findall(r"`((?:lib|proxy|tests|tools|bench|conf)/[\w./*-]+)", line):
            # NAME is any name. A run makes the folder of results.
            pattern = path.rstrip("/").replace("NAME", "*")
            if not path.startswith("bench/results") and not list(root.glob(pattern)):
                found.append(f"{page.name}:{number}: {path}: there is no such path")
    return found


def known_tests(root):
    """Returns the names of test files and of mutants."""
    names = {path.stem for path in (root / "tests").rglob("*_test.*")}
    names |= {path.stem for path in (root / "tests" / "mutants").glob("*.patch")}
    return names | set(tomllib.loads((root / "tests" / "mutants" / "rules.toml").read_text(encoding="utf-8")))


def size_problems(page):
    found, exempt = [], False
    for number, line in enumerate(page.lines, 1):
        exempt = (exempt or BENCH[0] in line) and BENCH[1] not in line
        if len(line) > MAX_COLUMNS and not exempt and page.name not in WITHOUT_SIZE:
            found.append(f"{page.name}:{number}: {len(line)} columns")
    limit = MAX_README if page.name == "README.md" else MAX_LINES
    if len(page.lines) > limit and page.name not in WITHOUT_SIZE:
        found.append(f"{page.name}: {len(page.lines)} lines of {limit}")
    return found


# --- Examples ------------------------------------------------------------------------------------------

SERVICE = {"name": "example", "protocol": "smtp", "listen": "127.0.0.1:0",
           "upstream.address": "smtp.example.com:587"}


def completed(text):
    """Returns a fragment of a configuration as a whole one. Keys of a service get a service around them."""
    table = tomllib.loads(text)
    if "service" in table:
        return text
    of_service = set(table) & {"name", "protocol", "listen", "downstream", "upstream", "destination", "login",
                               "account"}
    given = {key for key in SERVICE if key in table
             or (key == "upstream.address" and "address" in table.get("upstream", {}))}
    rest = "".join(f'{key} = "{value}"\n' for key, value in SERVICE.items() if key not in given)
    if of_service:
        return f"[[service]]\n{rest}{text}"
    return f"{text}\n[[service]]\n{rest}"


def strings(value, path=()):
    """Yields (path, text) of each string in a table."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from strings(each, (*path, key))
    elif isinstance(value, list):
        for each in value:
            yield from strings(each, path)


@functools.cache
def make_pki():
    """Makes certificates and keys. Returns file -> content."""
    with tempfile.TemporaryDirectory() as name:
        subprocess.run([MAKE_PKI, name], check=True, stdout=subprocess.DEVNULL)
        return {path.name: path.read_text(encoding="utf-8") for path in pathlib.Path(name).iterdir()
                if path.name in Workshop.STAND_INS.values()}


class Workshop:
    """A temporary folder in which examples find the files that they name."""

    STAND_INS = {"chain": "server.pem", "key": "server.key", "client_ca": "ca.pem", "ca_file": "ca.pem"}

    def __init__(self, folder, closed_port):
        self.folder = pathlib.Path(folder)
        self.closed_port = closed_port
        self.pki = make_pki()
        self.variables = {}  # that configurations name

    @property
    def environment(self):
        return {**os.environ, "LC_ALL": "C.UTF-8", **self.variables}

    def fill(self, text):
        """Makes the files and variables that a configuration names. Returns the configuration, with each
        absolute path moved into the folder."""
        for path, value in strings(tomllib.loads(text)):
            for name in re.findall(r"\$\{(?!file:)(\w+)\}", value):
                self.variables.setdefault(name, self._value(path, value, name))
            for file in re.findall(r"\$\{file:((?:\$\{\w+\}|[^}])+)\}", value):
                content = "s3cret" if path[-1] != "address" else "smtp.example.com:587"
                self.write(self.expanded(file), content)
            if path[-1] in self.STAND_INS and "${file:" not in value:
                self.write(self.expanded(value), self.pki[self.STAND_INS[path[-1]]])
            elif path[-1] == "ticket_keys":
                self.write(self.expanded(value), "A" * 64 + "\n")
            elif path[-2:] == ("log", "file"):
                self.place(value).parent.mkdir(parents=True, exist_ok=True)
        text = re.sub(r'(?<=")(/[^"]*)(?=")', lambda found: str(self.place(found[1])), text)
        text = re.sub(r'\$\{file:(/[^}]*)\}', lambda found: f"${{file:{self.place(found[1])}}}", text)
        # Only root can become another user. The user must also exist.
        return re.sub(r'^(proxy\.user\s*=\s*|\[proxy\]\n(?:[^\[\n].*\n|\n)*?user\s*=\s*)"[^"]*"', r'\1""', text,
                      flags=re.M)

    def _value(self, path, value, name):
        if f"${{{name}}}/" in value:
            return str(self.folder / "variable" / name)
        return "smtp.example.com:587" if path[-1] == "address" else "example.com"

    def expanded(self, value):
        return re.sub(r"\$\{(\w+)\}", lambda found: self.variables[found[1]], value)

    def place(self, name):
        """Returns the place of a file in the folder."""
        if name.startswith(str(self.folder)):
            return pathlib.Path(name)
        return self.folder / name.lstrip("/") if name.startswith("/") else self.folder / name

    def write(self, name, content):
        path = self.place(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        path.chmod(0o600)

    def check(self, text, name="example.toml"):
        """Returns the errors that --check reports about a configuration. Empty if there are none."""
        try:
            whole = self.fill(completed(text))
        except tomllib.TOMLDecodeError as error:
            return str(error)
        self.write(name, whole)
        result = self.run([BINARY, "--config", name, "--check"])
        return result.stderr if result.returncode else ""

    @functools.cache
    def knows_helpers(self):
        """True if the proxy knows the keys of HELPER."""
        return "unknown key" not in self.check('login.when = "connect"\nlogin.user = "a@example.com"\n'
                                               'login.socket = "/run/a"\nlogin.token = true\n')

    def run(self, command):
        return subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True,
                              text=True, timeout=60, stdin=subprocess.DEVNULL)

    def try_command(self, line, config):
        """Runs a command of a page. Returns the problem with it; empty if there is none.

        A command that would serve is only checked. A probe goes to a port at which nothing listens."""
        line, _, expected = line.partition("# exits ")
        words = shlex.split(line, comments=True)
        words = words[:next((i for i, word in enumerate(words) if re.match(r"\d?[>|<&;]", word)), None)]
        arguments, status = words[1:], int(expected or 0)
        for i, word in enumerate(arguments):
            if word == "--config" and not self.place(arguments[i + 1]).exists():
                if problem := self.check(config, arguments[i + 1]):
                    return problem
            if word in ("--chain", "--key", "--client-ca", "--ca-file", "--upstream-chain",
                        "--upstream-key"):
                key = word.removeprefix("--upstream-").removeprefix("--").replace("-", "_")
                self.write(arguments[i + 1], self.pki[self.STAND_INS[key]])
            if word.startswith("/"):
                arguments[i] = str(self.place(word))
        if arguments[:1] == ["probe"]:
            arguments[arguments.index("--upstream") + 1] = f"127.0.0.1:{self.closed_port}"
            status = USAGE if status == USAGE else UNAVAILABLE
        elif arguments[:1] == ["convert"]:
            for name in arguments[1:]:
                if not self.place(name).exists():
                    self.write(name, "client = yes\n[mail]\nprotocol = smtp\naccept = 127.0.0.1:2525\n"
                                     "connect = smtp.example.com:587\n")
        elif not {"--check", "--version", "--help", "-h", "-V", "help"} & set(arguments):
            arguments.append("--check")
        result = self.run([BINARY, *arguments])
        if result.returncode == status:
            return ""
        return f"exit status {result.returncode}, not {status}: {result.stderr}"


@contextlib.contextmanager
def workshop():
    """Makes a workshop, and reserves a port at which nothing listens."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield Workshop(folder, reserved.getsockname()[1])


def commands(block):
    """Returns the commands of a console block that begin with the program's name."""
    joined = re.sub(r"\\\n\s*", " ", block)
    return re.findall(r"^\$ (starttls-proxy(?: .*)?)$", joined, re.M)


def example_problems(page, shop):
    found, config = [], ""
    for language, number, text in page.blocks:
        place = f"{page.name}:{number}"
        if language == "toml":
            config = text
            if HELPER.search(text) and not shop.knows_helpers():
                continue
            if problem := shop.check(text):
                found.append(f"{place}: {problem}")
        elif language == "console":
            found += [f"{place}: {line}: {problem}" for line in commands(text)
                      if (problem := shop.try_command(line, config))]
    return found


# --- Tables --------------------------------------------------------------------------------------------

def matches(entry, pattern):
    """True if an entry of a page is about a message of the code. "…" in the entry is any text."""
    if messages.normal(entry) == pattern:
        return True
    words = [re.escape(part) for part in re.sub(rf"^{messages.GAP}[ :]*", "", entry).split(messages.GAP)]
    return messages.GAP in entry and any(
        re.fullmatch(".*".join(words), each, re.S) for each in (pattern, pattern + messages.GAP))


def is_vague(entry):
    """True if an entry has so few fixed words that it would be about many messages."""
    return messages.GAP in entry and len(re.findall("[A-Za-z]", entry)) < 6


def table_problems(what, entries, patterns):
    """Returns the messages without an entry, and the entries without a message."""
    found = [f"{what}: the entry {entry!r} is too vague" for entry in entries
             if is_vague(entry) and messages.normal(entry) not in patterns]
    found += [f"{what}: {pattern!r} ({', '.join(sorted(set(places))[:3])}) has no entry"
              for pattern, places in patterns.items()
              if not any(matches(entry, pattern) for entry in entries)]
    found += [f"{what}: the entry {entry!r} has no message" for entry in entries
              if not any(matches(entry, pattern) for pattern in patterns)]
    found += [f"{what}: {entry!r} has two entries" for entry in sorted(set(entries))
              if entries.count(entry) > 1]
    return found


def set_problems(what, entries, names):
    found = [f"{what}: {name} has no line" for name in sorted(names - set(entries))]
    found += [f"{what}: the code has no {name}" for name in sorted(set(entries) - names)]
    return found


def metric_names(entries):
    return [re.sub(r"\{.*", "", entry) for entry in entries]


class Documentation(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.pages = pages()
        cls.world = messages.World(ROOT)

    def page(self, name):
        return next((page for page in self.pages if page.name == name), Page(name, ""))

    def test_every_link_leads_somewhere(self):
        self.assertEqual([each for page in self.pages for each in broken_links(page, ROOT)], [])

    def test_every_path_exists(self):
        self.assertEqual([each for page in self.pages for each in missing_paths(page, ROOT)], [])

    def test_every_rule_of_security_names_its_tests(self):
        known = known_tests(ROOT)
        self.assertGreater(len(known), 100)
        rows = [line.split("|")[1:-1] for line in self.page("docs/security.md").prose
                if re.match(r"\|[^|]*\| `(lib|proxy|Leg)", line)]
        self.assertGreater(len(rows), 10)
        for rule, _, tests in rows:
            names = [name for name in re.findall("`([^`]+)`", tests) if "/" not in name]
            self.assertTrue(names, rule)
            self.assertEqual(set(names) - known, set(), rule)

    def test_every_page_has_a_readable_size(self):
        self.assertEqual([each for page in self.pages for each in size_problems(page)], [])

    def test_the_index_names_every_page(self):
        index = self.page("docs/README.md")
        linked = {target.partition("#")[0] for _, target in index.links()}
        there = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
        there -= {"README.md"}
        self.assertGreater(len(there), 10)
        self.assertEqual(there - linked, set())

    def test_the_examples_work(self):
        problems, count = [], 0
        for page in self.pages:
            with workshop() as shop:
                problems += example_problems(page, shop)
                count += sum(language in ("toml", "console") for language, _, _ in page.blocks)
        self.assertEqual(problems, [])
        self.assertGreater(count, 10)

    def test_every_outcome_has_its_line(self):
        names = messages.outcomes(self.world)
        self.assertIn("tls_not_offered", names)
        entries = self.page("docs/troubleshooting.md").entries("outcome")
        self.assertEqual(set_problems("outcomes", entries, names), [])

    def test_every_field_of_a_session_has_its_line(self):
        names = messages.session_fields(self.world)
        self.assertIn("outcome", names)
        entries = self.page("docs/operations.md").entries("field")
        self.assertEqual(set_problems("session", entries, names), [])

    def test_every_exit_status_has_its_line(self):
        statuses = messages.exit_statuses(self.world)
        self.assertIn("78", statuses)
        rows = re.findall(r"^\| (\d+) \|", "\n".join(self.page("docs/operations.md").prose), re.M)
        self.assertEqual(set_problems("exit", rows, statuses), [])

    def test_every_metric_has_its_line(self):
        names = messages.metrics(self.world)
        self.assertIn("starttls_sessions_open", names)
        entries = metric_names(self.page("docs/metrics.md").entries("metric"))
        self.assertEqual(set_problems("metrics", entries, names), [])

    def test_every_alert_leads_to_its_runbook(self):
        text = (ROOT / "conf/prometheus/alerts.yml").read_text(encoding="utf-8")
        runbook, metrics = self.page("docs/troubleshooting.md"), "\n".join(self.page("docs/metrics.md").prose)
        self.assertEqual(runbook_problems(text, runbook), [])
        names = [name for name, _ in alerts(text)]
        self.assertGreater(len(names), 10)
        self.assertEqual(set(re.findall(r"\bStarttls\w+", metrics)), set(names))
        headings = {line.strip("# ") for line in runbook.prose if line.startswith("### Starttls")}
        self.assertEqual(headings, set(names))

    def test_every_reason_has_its_line(self):
        found = messages.reasons(self.world)
        self.assertGreater(len(found.places), 150)
        self.assertEqual(set(found.without_words), PASSED_ON)
        entries = self.page("docs/reasons.md").entries("list", "reason")
        entries += self.page("docs/troubleshooting.md").entries("reason")
        entries += self.page("docs/launcher.md").entries("reason")
        self.assertEqual(table_problems("reasons", entries, found.places), [])

    def test_every_warning_has_its_line(self):
        found = messages.warnings(self.world)
        self.assertGreater(len(found.places), 40)
        self.assertEqual(set(found.without_words), WARNINGS_PASSED_ON)
        entries = self.page("docs/troubleshooting.md").entries("warning", "log line")
        self.assertEqual(table_problems("warnings", entries, found.places), [])


class SelfTest(unittest.TestCase):
    """Feeds each check something broken."""

    def test_runbooks(self):
        rules = ("rules:\n  - alert: Good\n    annotations:\n"
                 '      runbook_url: "file:///usr/share/doc/starttls-proxy/docs/troubleshooting.md#good"\n'
                 "  - alert: None\n  - alert: Gone\n    annotations:\n"
                 '      runbook_url: "file:///usr/share/doc/starttls-proxy/docs/troubleshooting.md#gone"\n')
        page = Page("docs/troubleshooting.md", "### Good\n### None\n")
        self.assertEqual([each.partition(":")[0] for each in runbook_problems(rules, page)], ["None", "Gone"])

    def test_links(self):
        page = Page("docs/x.md", "# A `b` (c)\n\n[x](nowhere.md) `[y](no)` [z](../README.md#no) [s](#a-b-c)\n"
                                 "```\n[w](block.md)\n```\n![i](gone.svg)\n")
        self.assertEqual(page.anchors(), {"a-b-c"})
        self.assertEqual([target for _, target in page.links()],
                         ["nowhere.md", "../README.md#no", "#a-b-c", "gone.svg"])
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "docs").mkdir()
            (root / "docs" / "x.md").write_text("\n".join(page.lines), encoding="utf-8")
            (root / "README.md").write_text("# Yes\n", encoding="utf-8")
            self.assertEqual(broken_links(page, root), [
                "docs/x.md:3: nowhere.md: there is no such file",
                "docs/x.md:3: ../README.md#no: there is no such heading",
                "docs/x.md:7: gone.svg: there is no such file"])

    def test_paths(self):
        page = Page("docs/x.md", "`lib/base/error.h` `lib/*` `lib/proto/NAME.cc` [`tests/e2e`](x)\n"
                                 "`lib/nothing.h` `tests/nowhere/`\n")
        self.assertEqual(missing_paths(page, ROOT), ["docs/x.md:2: lib/nothing.h: there is no such path",
                                                     "docs/x.md:2: tests/nowhere/: there is no such path"])
        self.assertIn("any-chain", known_tests(ROOT))
        self.assertNotIn("any-nonsense", known_tests(ROOT))

    def test_sizes(self):
        self.assertEqual(size_problems(Page("docs/x.md", "a" * 121)), ["docs/x.md:1: 121 columns"])
        self.assertEqual(size_problems(Page("docs/x.md", "\n".join([BENCH[0], "a" * 200, BENCH[1]]))), [])
        self.assertEqual(len(size_problems(Page("docs/x.md", f"{BENCH[0]}\n{BENCH[1]}\n" + "a" * 121))), 1)
        self.assertEqual(len(size_problems(Page("README.md", "a\n" * 151))), 1)
        self.assertEqual(len(size_problems(Page("docs/x.md", "a\n" * 301))), 1)
        self.assertEqual(size_problems(Page("docs/x.md", "a\n" * 300)), [])

    def test_examples(self):
        good = ('[[service]]\nname = "a"\nprotocol = "imap"\nlisten = "0.0.0.0:143"\n'
                'downstream.tls = "starttls"\ndownstream.certificates = [{ chain = "/etc/a.pem", '
                'key = "${D}/a.key" }]\nupstream.address = "${SERVER}"\nupstream.ca_file = "own/ca.pem"\n')
        blocks = (f'```toml\n{good}```\n```console\n$ starttls-proxy --config a.toml \\\n    --check\nok\n'
                  '$ starttls-proxy --protocol smtp --listen 127.0.0.1:25 --upstream a.test:25\n'
                  '$ starttls-proxy probe --protocol smtp --upstream a.test:25 --ca-file ca.pem  # exits 77\n'
                  '$ starttls-proxy convert mail.conf >a.toml\n$ starttls-proxy --nonsense  # exits 64\n'
                  '$ starttls-proxy --config other.toml\n```\n')
        with workshop() as shop:
            self.assertEqual(example_problems(Page("docs/x.md", blocks), shop), [])
            self.assertEqual(shop.check('upstream.verify = "none"\n'), "")
            self.assertEqual(shop.check('[admin]\nlisten = "127.0.0.1:9465"\n'), "")
            for broken in (good.replace("imap", "imapp"), good.replace("[{ chain", "[{ chian"), "a = \n",
                           'upstream.verfy = "none"\n', '[admin]\nlisten = "127.0.0.1"\n'):
                self.assertNotEqual(shop.check(broken), "", broken)
            for broken in ("--config a.toml --check  # exits 78", "--nonsense", "--protocol smtp",
                           "probe --protocol smtp --upstream a:25 --listen", "convert"):
                page = Page("docs/x.md", f"```console\n$ starttls-proxy {broken}\n```\n")
                self.assertEqual(len(example_problems(page, shop)), 1, broken)

    def test_tables(self):
        page = Page("docs/x.md", "| outcome | b |\n|---|---|\n| `ok`, `bad` | `no` |\n\n| other |\n|---|\n"
                                 "| `no` |\n\n- `one reason`,\n  `another …`: text `no`\n- `no` text\n")
        self.assertEqual(page.entries("outcome"), ["ok", "bad"])
        self.assertEqual(page.entries("list"), ["one reason", "another …"])
        self.assertEqual(set_problems("x", ["a", "b"], {"b", "c"}),
                         ["x: c has no line", "x: the code has no a"])
        self.assertEqual(table_problems("x", ["server sent …"], {"server sent a NUL": ["a.cc:1"]}), [])
        self.assertEqual(table_problems("x", ["server says: …"], {"server says": ["a.cc:1"]}), [])
        self.assertEqual(table_problems("x", ["server sent a NUL"], {"server sent a CR": ["a.cc:1"]}), [
            "x: 'server sent a CR' (a.cc:1) has no entry", "x: the entry 'server sent a NUL' has no message"])
        self.assertEqual(len(table_problems("x", ["ser…"], {"server sent a CR": ["a.cc:1"]})), 1)
        self.assertEqual(len(table_problems("x", ["one thing", "one thing"], {"one thing": ["a.cc:1"]})), 1)

    def test_messages(self):
        def read(kind, text, header=""):
            world = messages.World(ROOT, ())
            for name, content in (("lib/x/a.h", header), ("lib/x/a.cc", text)):
                world.sources[name] = messages.Source(name, content)
            return kind(world)

        reasons = read(messages.reasons, '''
            auto wrong(std::string_view what) { return fail(Errc::config, "it: " + std::string(what)); }
            constexpr auto kLate = "too late";
            void f(int x) {
              fail(Errc::system, "aa " "bb");           // fail(Errc::system, "a comment")
              fail(Attack::injection, x ? "yes yes" : "no no", {});
              Error refused{Errc::closed, "closed by " + std::string(x)};
              wrong("first"); wrong("sec" "ond");
              finish(Errc::timeout, std::string{kLate});
              std::string why = "ended";
              if (x) why += " early";
              fail({Errc::closed, std::move(why), "evidence of no interest"});
              fail(Errc::system, error_text(x));
            }''')
        self.assertEqual(set(reasons.places), {"aa bb", "yes yes", "no no", "closed by", "it: first",
                                               "it: second", "too late", "ended", "ended early"})
        self.assertEqual(set(reasons.without_words), {("lib/x/a.cc", "error_text(x)")})
        warnings = read(messages.warnings, '''
            void f() {
              log_.warn("one thing", {{"a", "b"}});
              log.write(x ? Level::warn : Level::debug, "another thing", {});
              log_.info("no thing", {});
              log.warn(message, {});
            }''')
        self.assertEqual(set(warnings.places), {"one thing", "another thing"})
        self.assertEqual(set(warnings.without_words), {("lib/x/a.cc", "message")})


if __name__ == "__main__":
    only = ["SelfTest"] if "--self-test" in sys.argv else []
    unittest.main(argv=[sys.argv[0], *only], verbosity=2)
