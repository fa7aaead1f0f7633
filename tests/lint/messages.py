"""Reads the program's messages out of its sources: reasons, warnings, outcomes and metrics.

A message is a pattern: its fixed words, and "…" for each part that is computed. The reader follows a name
to what it is set to, a parameter to the callers of its function, and a call to what the function returns,
all within one file. What it cannot follow it lists as unresolved. So a message cannot escape it unseen.
"""

import collections
import dataclasses
import functools
import itertools
import re

GAP = "…"
TOKEN = re.compile(
    r'(?P<comment>//[^\n]*|/\*.*?\*/)|(?P<raw>R"(?P<mark>[^(\s]*)\((?P<inside>.*?)\)(?P=mark)")'
    r'|(?P<string>"(?:[^"\\\n]|\\.)*")|(?P<char>\'(?:[^\'\\\n]|\\.)+\')'
    r"|(?P<word>[A-Za-z_]\w*)|(?P<number>\d[\w'.]*)|(?P<line>\#[^\n]*)"
    r"|(?P<sign>::|->|<=>|<<=?|==|!=|<=|>=|&&|\|\||[-+*/%&|^]=|\+\+|--|\[\[|\]\]|\S)", re.S)
CODES = ("Errc", "Attack", "Expiry")
OPEN, CLOSE = "({[", ")}]"
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", '"': '"', "'": "'", "\\": "\\", "?": "?", "a": "\a"}
MAX_DEPTH = 8
MAX_CALL = 400  # tokens
# Functions that return no message of ours: addresses, numbers, the operating system's text.
NOT_MESSAGES = ("to_string", "error_text", "printable", "escape", "system_text", "library_text")


Token = collections.namedtuple("Token", "kind text line")


class Call:
    """`name(arguments)` or `name{arguments}`. `at` is the bracket's place among the file's tokens."""

    def __init__(self, name, at, tokens):
        self.name = name
        self.at = at
        self._tokens = tokens

    @functools.cached_property
    def arguments(self):
        return tuple(tuple(part) for part in split(self._tokens, ","))

    def names_a_code(self):
        return any(token.text in CODES for token in self._tokens)


def unescape(text):
    return re.sub(r"\\(x[0-9A-Fa-f]+|.)", lambda found: ESCAPES.get(found[1], ""), text)


def tokens_of(text):
    found, line, end = [], 1, 0
    for match in TOKEN.finditer(text):
        line += text.count("\n", end, match.start())
        end = match.start()
        kind = match.lastgroup if match.lastgroup not in ("mark", "inside") else "raw"
        if kind in ("comment", "line"):
            continue
        if kind == "raw":
            found.append(Token("string", match["inside"], line))
        elif kind == "string":
            found.append(Token("string", unescape(match["string"][1:-1]), line))
        else:
            found.append(Token(kind, match[0], line))
    return found


def is_sign(token, text):
    return token.kind == "sign" and token.text == text


def split(tokens, sign):
    """Splits tokens at a sign outside brackets."""
    parts, depth = [[]], 0
    for token in tokens:
        if token.kind == "sign" and token.text in OPEN:
            depth += 1
        elif token.kind == "sign" and token.text in CLOSE:
            depth -= 1
        if depth == 0 and is_sign(token, sign):
            parts.append([])
        else:
            parts[-1].append(token)
    return [part for part in parts if part] if sign == "," else parts


class Source:
    """One file, and what can be looked up in it."""

    def __init__(self, name, text):
        self.name = name
        self.tokens = tokens_of(text)
        self.partner = self._brackets()
        self.functions = self._functions()
        self.calls = list(self._calls())
        self.calls_of = {}  # name -> its calls
        for call in self.calls:
            self.calls_of.setdefault(call.name, []).append(call)
        self.places = {}  # word -> its places among the tokens
        for at, token in enumerate(self.tokens):
            if token.kind == "word":
                self.places.setdefault(token.text, []).append(at)

    def _brackets(self):
        partner, stack = {}, []
        for at, token in enumerate(self.tokens):
            if token.kind != "sign":
                continue
            if token.text in OPEN:
                stack.append(at)
            elif token.text in CLOSE and stack:
                start = stack.pop()
                partner[start], partner[at] = at, start
        return partner

    def _functions(self):
        """Returns (name, parameters, first, last) of each function body. A lambda with a name counts."""
        found = []
        for at, token in enumerate(self.tokens):
            if not is_sign(token, "{") or at not in self.partner or at == 0:
                continue
            close = at - 1
            while close > 0 and (self.tokens[close].text in ("const", "noexcept", "override", "final")
                                 or (self.tokens[close].kind == "word"
                                     and self.tokens[close - 1].text in ("->", "::"))
                                 or self.tokens[close].text in ("->", "::")):
                close -= 1
            if not is_sign(self.tokens[close], ")") or close not in self.partner:
                continue
            start = self.partner[close]
            before = self.tokens[start - 1]
            if before.kind == "word" and before.text not in ("if", "for", "while", "switch", "catch"):
                name = before.text
            elif before.text == "]" and start - 1 in self.partner:  # auto name = [..](..) {
                equals = self.partner[start - 1] - 1
                if not is_sign(self.tokens[equals], "="):
                    continue
                name = self.tokens[equals - 1].text
            else:
                continue
            names = [part[-1].text if "=" not in [each.text for each in part]
                     else part[[each.text for each in part].index("=") - 1].text
                     for part in split(self.tokens[start + 1:close], ",")]
            found.append((name, names, at, self.partner[at]))
        return found

    def enclosing(self, at):
        around = [each for each in self.functions if each[2] < at < each[3]]
        return max(around, key=lambda each: each[2], default=None)

    def _calls(self):
        tokens = self.tokens
        semicolons = [0]
        for token in tokens:
            semicolons.append(semicolons[-1] + (token.kind == "sign" and token.text == ";"))
        for at, token in enumerate(tokens):
            if token.kind != "sign" or token.text not in "({" or at not in self.partner:
                continue
            end = self.partner[at]
            if end - at < 2 or (token.text == "{" and semicolons[at] != semicolons[end]):
                continue  # a body is no list of arguments
            name = tokens[at - 1].text if at and tokens[at - 1].kind == "word" else ""
            if name and at >= 2 and tokens[at - 2].text == "Error":
                name = "Error"  # Error refused{...}
            yield Call(name, at, tokens[at + 1:min(end, at + MAX_CALL)])


def product(parts):
    """Returns each text that takes one pattern of each part, in order."""
    return {re.sub(f"{GAP}+", GAP, "".join(each)) for each in itertools.product(*parts)}


class Reader:
    """Turns an expression into the patterns it can give."""

    def __init__(self, source, world):
        self.source = source
        self.world = world

    def patterns(self, tokens, at, depth=0):
        """Returns the patterns of an expression that is a message. `at` is its place among the tokens."""
        tokens = list(tokens)
        if depth > MAX_DEPTH or not tokens:
            return {GAP}
        question = split(tokens, "?")
        if len(question) > 1:
            rest = tokens[len(question[0]) + 1:]
            yes, no = self._branches(rest)
            return self.patterns(yes, at, depth + 1) | self.patterns(no, at, depth + 1)
        parts = split(tokens, "+")
        if len(parts) > 1:
            return product([self.patterns(part, at, depth + 1) for part in parts])
        if all(token.kind == "string" for token in tokens):
            return {"".join(token.text for token in tokens)}
        return self._of_one(tokens, at, depth)

    @staticmethod
    def _branches(tokens):
        level, depth = 0, 0
        for index, token in enumerate(tokens):
            if token.kind != "sign":
                continue
            if token.text in OPEN:
                depth += 1
            elif token.text in CLOSE:
                depth -= 1
            elif depth == 0 and token.text == "?":
                level += 1
            elif depth == 0 and token.text == ":":
                if level == 0:
                    return tokens[:index], tokens[index + 1:]
                level -= 1
        return tokens, []

    def _of_one(self, tokens, at, depth):
        last = tokens[-1]
        if is_sign(tokens[0], "(") and is_sign(last, ")"):
            return self.patterns(tokens[1:-1], at, depth + 1)
        words = [token.text for token in tokens]
        if words[-1] in (")", "}") and len(words) > 2:
            opening = self._opening(tokens)
            callee = words[opening - 1] if opening else ""
            arguments = split(tokens[opening + 1:-1], ",")
            if callee in ("move", "string", "string_view", "exchange", "format") and arguments:
                if callee == "format":
                    return self._format(arguments)
                return self.patterns(arguments[0], at, depth + 1)
            if callee not in NOT_MESSAGES and (opening == 1 or (opening == 3 and words[1] == "::")):
                return self.returned(callee, depth)
        elif len(words) == 1 and tokens[0].kind == "word":
            return self._named(words[0], at, depth)
        return {GAP}

    @staticmethod
    def _opening(tokens):
        depth = 0
        for index in range(len(tokens) - 1, -1, -1):
            if tokens[index].kind == "sign":
                depth += (tokens[index].text in CLOSE) - (tokens[index].text in OPEN)
                if depth == 0:
                    return index
        return 0

    @staticmethod
    def _format(arguments):
        if all(token.kind == "string" for token in arguments[0]):
            text = "".join(token.text for token in arguments[0])
            return {re.sub(r"\{[^}]*\}", GAP, text)}
        return {GAP}

    def returned(self, name, depth=0):
        found = set()
        for known, _, first, last in self.source.functions:
            if known != name:
                continue
            at = first
            while at < last:
                if self.source.tokens[at].text == "return":
                    end = at
                    while not is_sign(self.source.tokens[end], ";"):
                        end += 1
                    inside = self.source.tokens[at + 1:end]
                    if inside and [token.text for token in inside] != ["{", "}"]:
                        found |= self.patterns(inside, at, depth + 1)
                    at = end
                at += 1
        return found or {GAP}

    def _named(self, name, at, depth):
        """Follows a constant, a variable or a parameter."""
        function = self.source.enclosing(at)
        if function is not None and name in function[1]:
            return self._from_callers(function, name, depth)
        found = set()
        tokens = self.source.tokens
        ends = []
        for index in self.source.places.get(name, ()):
            scope = self.source.enclosing(index)
            if scope is not None and scope != function:
                continue
            value = index + 1
            if not tokens[value].text in ("=", "+="):
                if tokens[value].text in ("{", "(") and tokens[index - 1].kind == "word" \
                        and tokens[index - 1].text not in ("return", "if"):
                    found |= self.patterns(tokens[value + 1:self.source.partner[value]], index, depth + 1)
                continue
            end = value
            while end < len(tokens) and not is_sign(tokens[end], ";"):
                end = self.source.partner.get(end, end) + 1 if tokens[end].text in OPEN else end + 1
            given = self.patterns(tokens[value + 1:end], index, depth + 1)
            if tokens[value].text == "=":
                found |= given
            else:
                is_optional = tokens[index - 1].text in (")", "else")
                ends.append(given | {""} if is_optional else given)
        if not found and name.startswith("k") and self.source.name not in self.world.constants.get(name, ()):
            for other in self.world.constants.get(name, ()):
                found |= Reader(self.world.sources[other], self.world).patterns(
                    [Token("word", name, 0)], 0, depth + 1)
        for each in ends:
            found = product([found, each])
        return found or {GAP}

    def _from_callers(self, function, name, depth):
        found, position = set(), function[1].index(name)
        for source in self.world.callers(self.source, function[0]):
            reader = Reader(source, self.world)
            for call in source.calls_of.get(function[0], ()):
                if not call.arguments or is_declaration(call.arguments[0]) or (
                        source is self.source and source.enclosing(call.at) == function):
                    continue
                if len(call.arguments) > position:
                    found |= reader.patterns(call.arguments[position], call.at, depth + 1)
                else:
                    found.add("")  # the parameter's default
        return found or {GAP}


class World:
    """All sources."""

    def __init__(self, root, folders=("lib", "proxy")):
        self.sources = {}
        for folder in folders:
            for path in sorted((root / folder).rglob("*")):
                if path.suffix in (".h", ".cc"):
                    name = path.relative_to(root).as_posix()
                    self.sources[name] = Source(name, path.read_text(encoding="utf-8"))
        self.constants = {}  # a constant of a header -> the header's name
        for name, source in self.sources.items():
            for at, token in enumerate(source.tokens[:-1]):
                if name.endswith(".h") and re.fullmatch(r"k[A-Z]\w*", token.text) \
                        and is_sign(source.tokens[at + 1], "="):
                    self.constants.setdefault(token.text, []).append(name)

    def readers(self):
        for source in self.sources.values():
            yield source, Reader(source, self)

    def callers(self, source, function):
        """Returns the sources that can call a function: its own, and all if its header declares it."""
        header = self.sources.get(re.sub(r"\.cc$", ".h", source.name))
        if header is None or (header is not source and function not in header.places):
            return [source]
        return [each for each in self.sources.values() if function in each.places]


def is_declaration(argument):
    """True for `Outcome outcome`, `std::string_view text`, `const Error& error`."""
    if not argument:
        return False
    *before, last = argument
    while before and before[-1].text in ("&", "*", ">"):
        before.pop()
    return argument[0].text == "const" or (
        last.kind == "word" and bool(before) and before[-1].kind == "word"
        and before[-1].text not in ("return", "new"))


def has_code(argument):
    """True if an error's code is named in this argument itself, and not within brackets of it."""
    depth = 0
    for token, after in zip(argument, argument[1:]):
        if token.kind == "sign":
            depth += (token.text in OPEN) - (token.text in CLOSE)
        if depth == 0 and token.text in CODES and is_sign(after, "::"):
            return True
    return False


def has_level(argument):
    """True for an argument such as Level::warn, also in a choice of levels."""
    words = [token.text for token in argument]
    return "Level" in words and bool({"warn", "error"} & set(words))


def normal(pattern):
    """Drops what a message begins or ends with by computation: a file, an address, a system's text."""
    pattern = " ".join(pattern.split())
    pattern = re.sub(rf"^(?:[\s:;,]|'?{GAP}'?)+", "", pattern)
    return re.sub(rf"(?:[\s:;,]|'?{GAP}'?)+$", "", pattern)


def has_words(pattern):
    return re.search(r"[A-Za-z]{2}", pattern) is not None


@dataclasses.dataclass
class Found:
    """Maps each pattern to its places in the code. Keeps the expressions without words apart."""
    places: dict = dataclasses.field(default_factory=dict)
    without_words: dict = dataclasses.field(default_factory=dict)

    def add(self, source, call, argument, patterns):
        place = f"{source.name}:{source.tokens[call.at].line}"
        text = "".join(token.text for token in argument)
        for pattern in patterns:
            # "'…': …: write HOST:PORT" is a message that could not be read, with advice after it.
            is_advice = re.match(rf"'{GAP}': {GAP}: ", pattern)
            if has_words(normal(pattern)) and not is_advice:
                self.places.setdefault(normal(pattern), []).append(place)
        if not any(has_words(pattern) or pattern == "" for pattern in patterns):
            self.without_words.setdefault((source.name, text), place)

    def drop_advice(self):
        """Drops each message that is another one with advice after it: "not an address: write HOST:PORT"."""
        for pattern in list(self.places):
            if any(pattern[:found.start()] in self.places
                   for found in re.finditer(": write", pattern)):
                del self.places[pattern]


def is_reason(call):
    if call.name not in ("fail", "finish", "set_outcome", "Error") and not call.names_a_code():
        return False
    arguments = call.arguments
    if len(arguments) < 2 or is_declaration(arguments[0]):
        return False
    return has_code(arguments[0]) or call.name in ("fail", "finish", "set_outcome", "Error")


def reasons(world):
    """Returns the reasons of errors, and of a session's end."""
    found = Found()
    for source, reader in world.readers():
        if source.name in NO_REASONS:
            continue
        for call in source.calls:
            if is_reason(call):
                found.add(source, call, call.arguments[1], reader.patterns(call.arguments[1], call.at))
            elif call.name in ("", "return") and call.names_a_code() and len(call.arguments) == 3 \
                    and has_code(call.arguments[1]):
                # {patience, Expiry::fail, "reason"}
                found.add(source, call, call.arguments[2], reader.patterns(call.arguments[2], call.at))
    found.drop_advice()
    return found


# Files without reasons that a reader of the log or a client sees.
NO_REASONS = {
    "lib/base/error.h": "declares the types",
    "proxy/cli.cc": "a mistake on the command line is printed with the usage",
}


def warnings(world):
    """Returns the messages at the levels warn and error, and the warnings about a configuration."""
    found = Found()
    for source, reader in world.readers():
        for name, _, first, _ in source.functions:
            if name.endswith("_warning"):  # returns a message for the caller to log
                call = Call(name, first, [])
                found.add(source, call, (), reader.returned(name))
        for call in source.calls:
            if (position := message_at(source, call)) is None:
                continue
            argument = call.arguments[position]
            if is_sign(argument[0], "{"):  # the message is the first of several
                argument = split(argument[1:-1], ",")[0]
            found.add(source, call, argument, reader.patterns(argument, call.at))
    return found


WARNINGS_OF_A_CONFIGURATION = ("lib/config/describe.cc", "lib/config/mistakes.cc", "proxy/certificates.cc")


def message_at(source, call):
    """Returns the position of the argument that is a warning's message."""
    if call.name and call.name not in ("warn", "error", "write", "fault", "log_event",
                                       "push_back", "emplace_back", "insert", "line", "return"):
        return None
    if not call.name and source.name not in WARNINGS_OF_A_CONFIGURATION:
        return None
    arguments = call.arguments
    before = source.tokens[call.at - 2].text if call.at > 1 else ""
    if call.name in ("warn", "error") and before in (".", "->") and arguments:
        return 0
    if call.name in ("write", "fault") and len(arguments) > 1 and has_level(arguments[0]):
        return 1
    if call.name == "line" and source.name == "lib/base/log.cc" and has_level(arguments[0]):
        return 1
    if call.name == "log_event" and len(arguments) > 2 and not is_declaration(arguments[0]):
        return 0
    if source.name not in WARNINGS_OF_A_CONFIGURATION:
        return None
    function = source.enclosing(call.at)
    if call.name in ("push_back", "emplace_back") and before == "." \
            and source.tokens[call.at - 3].text == "found":
        return None if is_sign(arguments[0][0], "{") else 0
    if call.name == "insert" and before == "." and source.tokens[call.at - 3].text == "found" \
            and len(arguments) == 2:
        return 1
    if not call.name and len(arguments) == 2 and arguments[0][0].text == "Kind":
        return 1  # {Kind::expired, "has expired"}
    if call.name == "line" and len(arguments) == 3 and arguments[1][0].text == "WARNING":
        return 2
    if call.name == "return" and function is not None and function[0] == "warnings" and len(arguments) == 1:
        return 0
    return None


def outcomes(world):
    """Returns the names of a session's outcomes."""
    error, outcome = world.sources["lib/base/error.h"], world.sources["lib/metrics/outcome.h"]
    name = next(each for each in error.functions if each[0] == "name" and each[1] == ["code"])
    found = {token.text for token in error.tokens[name[2]:name[3]] if token.kind == "string"} - {"unknown"}
    return found | {token.text for token in outcome.tokens
                    if token.kind == "string" and re.fullmatch("[a-z_]+", token.text)}


def session_fields(world):
    """Returns the fields of a session's line."""
    source = world.sources["lib/session/session_record.cc"]
    [function] = [each for each in source.functions if each[0] == "log_end"]
    return {call.arguments[0][0].text for call in source.calls
            if function[2] < call.at < function[3] and not call.name and len(call.arguments) == 2
            and len(call.arguments[0]) == 1 and call.arguments[0][0].kind == "string"}


def exit_statuses(world):
    """Returns the exit statuses of the program, as text."""
    text = [token.text for token in world.sources["proxy/exit_status.h"].tokens]
    return {"0"} | {value for name, value in zip(text, text[2:]) if name.startswith("kExit")}


def metrics(world):
    """Returns the names of the metrics."""
    return {token.text for token in world.sources["lib/metrics/metrics.cc"].tokens
            if token.kind == "string" and re.fullmatch(r"(starttls|process)_[a-z_]+", token.text)}
