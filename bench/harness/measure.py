"""Runs scenarios: every subject once a round, A B C A B C, so that whatever else happens on the
machine happens to all."""

import contextlib
import re
import sys
import time

from . import scenarios as s
from .programs import BenchError
from .subjects import CIPHER, OURS, SUBJECTS, speaks

DEADLINE = 600


def say(text):
    print(text, file=sys.stderr, flush=True)


def measure(field, scenario, options):
    """{subject: {figure: [a value a round]}} and {subject: last quantiles}; None if not possible."""
    if options.protocol == "pop3" and scenario.command == "send":
        return None
    size = scenario.quick if options.quick else scenario.size
    if scenario.name == "workers":
        return workers(field, scenario, size, options)
    extra = ()
    if scenario.warm:
        if (flag := field.warm_flag()) is None:
            say("  the proxy has no connections kept warm yet")
            return None
        extra = ("--workers", "1", flag, "8")
    with contextlib.ExitStack() as stack:
        running = start(field, scenario, options, stack, extra)
        figures = {each.name: {} for each in running}
        quantiles = {}
        for each in running:  # unmeasured: buffers, caches, the kernel's windows
            once(field, scenario, each, max(scenario.quick // 4, 10))
        for number in range(1 if scenario.command == "idle" else options.rounds):
            for each in running:
                values, curve = once(field, scenario, each, size)
                if curve:
                    quantiles[each.name] = curve
                for key, value in values.items():
                    figures[each.name].setdefault(key, []).append(value)
                say(f"  round {number + 1}, {each.name}: {summary(scenario, values)}")
        for each in running:
            if each.subject.kind == "ours":
                end_ours(each)
    return {"figures": figures, "quantiles": quantiles, "size": size}


def end_ours(each):
    """Its log must show that it did what was meant: faster without verification is no merit."""
    if (status := each.program.stop()) != 0:
        raise BenchError(f"{each.name} has ended with status {status}")
    if each.subject.server == "none":
        return
    found = re.search(r"upstream_tls=(\S+) upstream_cipher=(\S+) .*upstream_verify=(\S+)",
                      each.program.text())
    if found is None or found.groups() != ("TLSv1.3", CIPHER, "full"):
        raise BenchError(f"{each.name}: not the session that was meant: {found}")


def summary(scenario, values):
    return ", ".join(f"{key} {values[key]:.3g}" for key in scenario.figures if key in values)


def start(field, scenario, options, stack, extra):
    """All subjects of the scenario that there are."""
    running = []
    for subject in SUBJECTS[scenario.direction]:
        wanted = subject.kind in scenario.kinds and speaks(subject, scenario.direction,
                                                           options.protocol)
        if not wanted or (options.subjects and subject.name not in options.subjects):
            continue
        # Small records: the server writes them here, the client in the other direction.
        record = scenario.record if scenario.command == "fetch" else 0
        each = field.start(stack, subject, scenario.direction, record, extra)
        if each is None:
            say(f"  {subject.name} is not installed")
        else:
            running.append(each)
    return running


def once(field, scenario, each, size):
    """One measurement: its figures, and quantiles in microseconds where there are any."""
    if scenario.command == "idle":
        return {s.IDLE: idle(field, each, size)}, None
    arguments = list(scenario.arguments)
    arguments += ["--octets" if scenario.command in ("send", "fetch") else "--count", size]
    if scenario.record and scenario.command == "send":
        arguments += ["--record", scenario.record]
    before = each.program.cpu_seconds() if each.program else 0
    with field.load(each, scenario.command, *arguments) as load:
        result = load.result(DEADLINE)
    if result["done"] == 0:
        raise BenchError(f"{each.name}: nothing was done: {result}")
    secure = each.subject.client != "none"
    if secure and (result["version"], result["cipher"]) != ("TLSv1.3", CIPHER):
        raise BenchError(f"{each.name}: {result['version']} {result['cipher']}, not {CIPHER}")
    if "--resume" in arguments and secure and size > 100 and result["resumed"] < 0.9 * result["done"]:
        raise BenchError(f"{each.name}: {result['resumed']} of {result['done']} resumed")
    cpu = each.program.cpu_seconds() - before if each.program else None
    return figures_of(scenario, result, cpu)


def figures_of(scenario, result, cpu):
    values = {}
    if scenario.command in ("send", "fetch"):
        values["GB/s"] = result["octets"] / result["seconds"] / 1e9
        if cpu is not None:
            values[s.CPU_GB] = cpu / result["octets"] * 1e9
        return values, None
    values[s.RATE] = result["done"] / result["seconds"]
    if scenario.command == "sessions":
        if cpu is not None:
            values[s.CPU_SESSION] = cpu / result["done"] * 1e3
        values[s.READY] = result["ready_us"]["p50"] / 1e3
        values[s.READY99] = result["ready_us"]["p99"] / 1e3
        values[s.COMMITTED] = result["committed_us"]["p50"] / 1e3
        return values, result["committed_us"]
    if cpu is not None:
        values[s.CPU_OP] = cpu / result["done"] * 1e6
    for key, quantile in ((s.P50, "p50"), (s.P99, "p99"), (s.P999, "p99.9")):
        values[key] = result["whole_us"][quantile]
    return values, result["whole_us"]


def idle(field, each, sessions):
    """Growth of memory by an idle session, in 1000 octets."""
    before = each.program.pss()
    with field.load(each, "idle", "--sessions", sessions, "--concurrency", 32, "--hold",
                    DEADLINE) as load:
        opened = int(load.wait_for(r'"open": (\d+)}\n', DEADLINE)[1])
        time.sleep(min(1, sessions / 100))  # whatever works on after the last reply
        after = each.program.pss()
        load.stop()
        load.result(60)
    if opened != sessions:
        raise BenchError(f"{each.name}: {opened} of {sessions} sessions opened")
    return (after - before) / sessions / 1e3


def workers(field, scenario, size, options):
    """How much two workers do of what one does, as their CPU time says: load and server need the same
    CPUs, so sessions a second of wall time would say more about them.

    Sessions per CPU second of both workers to those of one, times how evenly the two share.
    """
    if len(field.all_cpus) < 2 or (options.subjects and OURS not in options.subjects):
        return None
    subject = next(each for each in SUBJECTS[scenario.direction] if each.kind == "ours")
    figures = {s.SCALE: []}
    with contextlib.ExitStack() as stack:
        one = field.start(stack, subject, scenario.direction, 0, ("--workers", "1"))
        two = field.start(stack, subject, scenario.direction, 0, ("--workers", "2"))
        for each in (one, two):
            once(field, scenario, each, scenario.quick)
        for number in range(options.rounds):
            single = once(field, scenario, one, size)[0][s.CPU_SESSION]
            before = two.program.thread_cpu_seconds()
            double = once(field, scenario, two, size)[0][s.CPU_SESSION]
            spent = sorted(value - before.get(thread, 0) for thread, value in
                           two.program.thread_cpu_seconds().items())[-2:]
            if min(single, double, spent[-1]) > 0:  # a smoke test may be below the clock's tick
                figures[s.SCALE].append(single / double * sum(spent) / spent[-1])
            say(f"  round {number + 1}: {figures[s.SCALE][-1:]}")
    if not figures[s.SCALE]:
        return None
    return {"figures": {OURS: figures}, "quantiles": {}, "size": size}


