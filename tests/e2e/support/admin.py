"""Asks the admin endpoint, over TCP or a unix socket."""

import json
import re
import socket

from . import wait

_SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)')
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)",?')


def configured(text, listen="127.0.0.1:0"):
    """Returns a configuration with an admin endpoint."""
    return f'[admin]\nlisten = "{listen}"\n{text}'


def address(daemon):
    """Returns the address that the admin endpoint listens on."""
    [line] = daemon.lines(lambda fields: fields.get("msg") == "admin listening")
    return line["address"]


def connect(where, deadline=wait.DEADLINE):
    """Connects. `where` is as in the configuration: "127.0.0.1:9465", "[::1]:9465" or "unix:PATH"."""
    if where.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(deadline)
        try:
            sock.connect(where.removeprefix("unix:"))
        except OSError:
            sock.close()
            raise
        return sock
    host, _, port = where.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=deadline)


def receive(sock):
    """Returns all bytes until the peer's FIN."""
    data = b""
    while more := sock.recv(65536):
        data += more
    return data


class Response:
    def __init__(self, data):
        head, blank, self.body = data.partition(b"\r\n\r\n")
        if not blank:
            raise AssertionError(f"no HTTP response: {data!r}")
        status, *fields = head.decode("ascii").split("\r\n")
        self.status = int(status.split(" ")[1])
        self.fields = {name.lower(): value for name, _, value in
                       (field.partition(": ") for field in fields)}

    @property
    def text(self):
        return self.body.decode("utf-8")

    @property
    def json(self):
        return json.loads(self.body)


def ask(where, request):
    """Sends these bytes and returns the response."""
    with connect(where) as sock:
        sock.sendall(request)
        return Response(receive(sock))


def get(where, path, method="GET", host="127.0.0.1"):
    return ask(where, f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())


def health(where, method="GET"):
    """Returns the answer of /healthz, once it is 200: on a busy machine a worker may be late."""
    def healthy():
        response = get(where, "/healthz", method)
        return response if response.status == 200 else None

    return wait.until(healthy, f"{where} is healthy")


def sessions(where):
    """Returns the page of /sessions, once every worker has been heard."""
    def complete():
        page = get(where, "/sessions").json
        return page if page["complete"] else None

    return wait.until(complete, "all sessions are listed")


class Metrics:
    """A page of /metrics, by name and labels."""

    def __init__(self, text):
        self.text = text
        self.samples = {}
        for line in text.splitlines():
            if line.startswith("#"):
                continue
            name, labels, value = _SAMPLE.fullmatch(line).groups()
            key = name, frozenset(_LABEL.findall(labels or ""))
            if key in self.samples:
                raise AssertionError(f"twice: {line}")
            self.samples[key] = float(value)

    def __call__(self, name, /, **labels):
        """Returns the value of the one sample with these labels. service="office" is one of them,
        unless the caller names another service or the sample has no such label."""
        for wanted in ({"service": "office", **labels}, labels):
            if (found := self.samples.get((name, frozenset(wanted.items())))) is not None:
                return found
        raise AssertionError(f"no {name} {labels} in\n{self.text}")

    def nonzero(self, name):
        """Returns labels (without service) -> value of all samples of that name that are not 0."""
        return {tuple(value for key, value in sorted(labels) if key != "service"): number
                for (each, labels), number in self.samples.items() if each == name and number}


def metrics(where):
    response = get(where, "/metrics")
    if response.status != 200:
        raise AssertionError(f"{response.status}: {response.text}")
    return Metrics(response.text)
