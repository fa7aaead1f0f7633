"""TCP ports for programs that cannot choose a free port themselves and report it."""

import errno
import pathlib
import random
import socket

_claims = []  # sockets that hold a port's name for as long as this process lives


def _claim(port):
    """Claims a port. False if another process of the tests or the bench has claimed it. That process may
    not listen there yet, so a bind would not find it."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0starttls-port-{port}")  # no file; each network namespace has its own names
    except OSError:
        claim.close()
        return False
    _claims.append(claim)
    return True


def _is_free(port):
    for family, everywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            with socket.socket(family) as probe:
                probe.bind((everywhere, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            if family == socket.AF_INET:
                raise  # otherwise there is no IPv6
    return True


def claimed_port(candidates):
    """Returns the first of these ports that is free on all addresses; None if there is none. No other
    process gets it from this function while this one lives."""
    for port in candidates:
        if _claim(port):
            if _is_free(port):
                return port
            _claims.pop().close()
    return None


def free_port():
    """Returns a free TCP port, another one each time. It is outside the range of ports that the kernel
    gives to outgoing connections: any program's next connection may get one of those."""
    first = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(
        encoding="ascii").split()[0])
    dice = random.SystemRandom()
    return claimed_port(iter(lambda: dice.randrange(min(10240, first // 2), first), None))
