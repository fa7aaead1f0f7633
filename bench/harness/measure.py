"""Runs scenarios. Every subject runs once per round, in the order A B C C B A. So a disturbance or a slow
change of the machine affects all subjects alike."""

import contextlib
import re
import statistics
import sys
import time

from . import scenarios as s
from .programs import BenchError, descriptor_limit
from .subjects import DIRECT, OURS, PROTOCOLS, SUBJECTS, speaks

DEADLINE = 600
SERVICES = 4  # for many sessions: the kernel has some 28 000 ports for the clients of one address


def say(text):
    print(text, file=sys.stderr, flush=True)


def measure(field, scenario, options):
    """Returns {subject: {figure: [one value per round]}} and {subject: quantiles}; None if not possible."""
    if options.protocol == "pop3" and scenario.command == "send":
        return None
    if options.tls == "1.2" and scenario.direction == "upgrade":
        say("  not with TLS 1.2: the proxy and the backend cannot be limited to it on this leg")
        return None
    size = scenario.quick if options.quick else scenario.size
    if scenario.protocol:
        field = field.speaking(scenario.protocol)
    if scenario.method in ("workers", "protocols", "held_many"):
        return globals()[scenario.method](field, scenario, size, options)
    extra = ()
    if scenario.warm:
        if (flag := field.warm_flag()) is None:
            say("  this proxy cannot keep connections warm")
            return None
        extra = ("--workers", "1", flag, "8")
    with contextlib.ExitStack() as stack:
        running = start(field, scenario, options, stack, extra)
        figures = {each.name: {} for each in running}
        curves = {}
        for each in running:  # not measured: it fills buffers, caches, the kernel's windows
            once(field, scenario, each, max(scenario.quick // 4, 10), options.quick)
        for number in range(min(options.rounds, scenario.rounds or options.rounds)):
            for each in running if number % 2 == 0 else reversed(running):
                values, curve = once(field, scenario, each, size, options.quick)
                if curve:
                    curves.setdefault(each.name, []).append(curve)
                for key, value in values.items():
                    figures[each.name].setdefault(key, []).append(value)
                say(f"  round {number + 1}, {each.name}: {summary(scenario, values)}")
        for each in running:
            if each.subject.kind == "ours":
                end_ours(field, each)
    quantiles = {name: {key: statistics.median(each[key] for each in of_rounds)
                        for key in of_rounds[0]} for name, of_rounds in curves.items()}
    return {"figures": figures, "quantiles": quantiles, "size": size}


def end_ours(field, each):
    """Ends our proxy and checks its log: the session must be the intended one. A proxy that is faster
    because it does not verify is no better."""
    if (status := each.program.stop()) != 0:
        raise BenchError(f"{each.name} has ended with status {status}")
    if each.subject.server in ("none", "opportunistic"):
        return
    found = re.search(r"upstream_tls=(\S+) upstream_cipher=(\S+) .*upstream_verify=(\S+)",
                      each.program.text())
    if found is None or found.groups() != (field.version, field.cipher, "full"):
        raise BenchError(f"{each.name}: not the session that was meant: {found}")


def summary(scenario, values):
    return ", ".join(f"{key} {values[key]:.3g}" for key in scenario.figures if key in values)


def start(field, scenario, options, stack, extra):
    """Starts all subjects of the scenario that are installed."""
    running = []
    for subject in scenario.subjects:
        wanted = subject.kind in scenario.kinds and speaks(
            subject, scenario.direction, scenario.protocol or options.protocol)
        if not wanted or (options.subjects and subject.name not in options.subjects):
            continue
        # Small records: with "fetch" the server writes them, with "send" the client.
        record = scenario.record if scenario.command == "fetch" else 0
        each = field.start(stack, subject, scenario.direction, record, extra,
                           bulk=scenario.command in ("send", "fetch"))
        if each is None:
            say(f"  {subject.name} is not installed")
        else:
            running.append(each)
    return running


def once(field, scenario, each, size, quick=False, cpus=None):
    """Measures once. Returns the figures, and quantiles in microseconds if there are any."""
    if scenario.method == "held":
        return {s.IDLE: held(field, scenario, each, size)}, None
    arguments = list(scenario.arguments)
    arguments += ["--bytes" if scenario.command in ("send", "fetch") else "--count", size]
    if scenario.record and scenario.command == "send":
        arguments += ["--record", scenario.record]
    if scenario.sessions:
        arguments += ["--sessions", scenario.few if quick else scenario.sessions]
    result, cpu = run(field, each, scenario.command, *arguments, cpus=cpus)
    if "--resume" in arguments and each.subject.client != "none" and size > 100 and (
            result["resumed"] < 0.9 * result["done"]):
        raise BenchError(f"{each.name}: {result['resumed']} of {result['done']} resumed")
    return figures_of(scenario, result, cpu)


def run(field, each, command, *arguments, cpus=None):
    """Runs a load generator to its end. Returns its result, and the CPU time of the subject. If sessions
    are opened first and used later, the time to open them does not count."""
    before = each.program.cpu_seconds() if each.program else 0
    with field.load(each, command, *arguments, cpus=cpus) as load:
        if command != "sessions":
            load.wait_for(r'"open": \d+}\n', DEADLINE)
            before = each.program.cpu_seconds() if each.program else 0
        result = load.result(DEADLINE)
    if result["done"] == 0:
        raise BenchError(f"{each.name}: nothing was done: {result}")
    secure = each.subject.client != "none"
    if secure and (result["version"], result["cipher"]) != (field.version, field.cipher):
        raise BenchError(f"{each.name}: {result['version']} {result['cipher']}, not {field.cipher}")
    return result, each.program.cpu_seconds() - before if each.program else None


def figures_of(scenario, result, cpu):
    values = {}
    if scenario.command in ("send", "fetch"):
        values[s.SPEED] = result["bytes"] / result["seconds"] / 1e9
        if cpu is not None:
            values[s.CPU_GB] = cpu / result["bytes"] * 1e9
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


def held(field, scenario, each, sessions):
    """Returns the memory that an idle session adds, in units of 1000 bytes."""
    before = each.program.pss()
    with field.load(each, "idle", "--sessions", sessions, *scenario.arguments, "--hold",
                    DEADLINE) as load:
        opened = int(load.wait_for(r'"open": (\d+)}\n', DEADLINE)[1])
        time.sleep(min(1, sessions / 100))  # for work that goes on after the last reply
        after = each.program.pss()
        load.stop()
        load.result(60)
    if opened != sessions:
        raise BenchError(f"{each.name}: {opened} of {sessions} sessions opened")
    return (after - before) / sessions / 1e3


def held_many(field, scenario, size, options):
    """Does the same for more sessions than one port can have. Several services and servers share them."""
    subject = next(each for each in scenario.subjects if each.name == OURS)
    if options.subjects and OURS not in options.subjects:
        return None
    if descriptor_limit() < 2 * size + 1000:
        say(f"  not with {descriptor_limit()} descriptors: each session has two")
        return None
    with contextlib.ExitStack() as stack:
        program, ports = field.start_services(stack, subject, SERVICES)
        program_before, loads = program.pss(), []
        for port in ports:
            load = stack.enter_context(field.load_at(
                port, subject.client, "idle", "--sessions", size // SERVICES, *scenario.arguments,
                "--hold", DEADLINE))
            loads.append(load)
            load.wait_for(rf'"open": {size // SERVICES}}}\n', DEADLINE)
        time.sleep(1)
        grown = program.pss() - program_before
        for load in loads:
            load.stop()
            load.result(DEADLINE)
        if program.stop() != 0:
            raise BenchError(f"{OURS}: {program.text()[-2000:]}")
    return {"figures": {OURS: {s.IDLE: [grown / size / 1e3]}}, "quantiles": {}, "size": size}


def protocols(field, scenario, size, options):
    """Sends every protocol through us and through each rival that does the job. There are messages, one
    large transfer, and commands. All must arrive; the messages give a figure."""
    figures = {}
    for protocol in PROTOCOLS:
        speaking = field.speaking(protocol)
        with contextlib.ExitStack() as stack:
            for subject in SUBJECTS[scenario.direction]:
                if subject.kind not in scenario.kinds or not speaks(
                        subject, scenario.direction, protocol) or (
                        options.subjects and subject.name not in options.subjects):
                    continue
                each = speaking.start(stack, subject, scenario.direction)
                if each is None:
                    continue
                run(speaking, each, "fetch", "--bytes", 100 * size * len(PROTOCOLS))
                run(speaking, each, "commands", "--count", size, "--sessions", 4)
                result, cpu = run(speaking, each, scenario.command, "--count", size,
                                  "--sessions", 4, *scenario.arguments)
                values = {s.message_of(protocol): [cpu / result["done"] * 1e6]}
                figures.setdefault(each.name, {}).update(values)
                say(f"  {protocol}, {each.name}: {values}")
                if subject.kind == "ours":
                    end_ours(speaking, each)
    return {"figures": figures, "quantiles": {}, "size": size}


def workers(field, scenario, size, options):
    """Measures the capacity of two workers relative to one. WORKERS_NOTE explains the method."""
    if len(field.all_cpus) < 2 or (options.subjects and OURS not in options.subjects):
        return None
    subject = next(each for each in SUBJECTS[scenario.direction] if each.kind == "ours")
    everywhere = field.all_cpus
    figures = {}
    with contextlib.ExitStack() as stack:
        one, two = (field.start(stack, subject, scenario.direction, 0, ("--workers", count),
                                cpus=everywhere) for count in ("1", "2"))
        for each in (one, two):
            once(field, scenario, each, scenario.quick, cpus=everywhere)
        for number in range(options.rounds):
            single = once(field, scenario, one, size, cpus=everywhere)[0][s.CPU_SESSION]
            before, seen = two.program.thread_cpu_seconds(), sessions_of_workers(two)
            double = once(field, scenario, two, size, cpus=everywhere)[0][s.CPU_SESSION]
            spent = [value - before.get(thread, 0)
                     for thread, value in two.program.thread_cpu_seconds().items()]
            shares = [count - seen.get(worker, 0)
                      for worker, count in sessions_of_workers(two).items()]
            values = {s.SCALE: single / 1e3 * size / max(spent), s.ONE_WORKER: single,
                      s.TWO_WORKERS: double, s.SHARE: max(shares) / sum(shares)}
            for key, value in values.items():
                figures.setdefault(key, []).append(value)
            say(f"  round {number + 1}: {summary(scenario, values)}")
        for each in (one, two):
            end_ours(field, each)
    if not figures:
        return None
    return {"figures": {OURS: figures}, "quantiles": {}, "size": size}


def sessions_of_workers(each):
    """Returns how many sessions each worker has ended. The log names them PROCESS.WORKER.NUMBER."""
    found = {}
    for worker in re.findall(r"msg=session session=\w+\.(\d+)\.\d+ ", each.program.text()):
        found[worker] = found.get(worker, 0) + 1
    return found


def negotiated(field, options):
    """Returns {direction: {subject: what it negotiates, in words}}. Version and cipher must be the same for
    all; the group is only reported."""
    found = {}
    for direction in sorted({each.direction for each in options.chosen}):
        if options.tls == "1.2" and direction == "upgrade":
            continue
        for subject in SUBJECTS[direction]:
            clear = (subject.client, subject.server) in (("none", "none"), ("none", "opportunistic"))
            if clear or subject.name == DIRECT or not (
                    speaks(subject, direction, options.protocol)) or (
                    options.subjects and subject.name not in options.subjects):
                continue
            hellos = field.negotiated(subject, direction)
            if hellos is None:
                continue
            if not hellos:
                raise BenchError(f"{subject.name}: no handshake was seen")
            first = hellos[0]
            if (first.version, first.cipher) != (field.version, field.cipher):
                raise BenchError(f"{subject.name}, {direction}: {first}, not {field.cipher}")
            resumed = sum(each.resumed for each in hellos)
            found.setdefault(direction, {})[subject.name] = (
                f"{first.version} {first.cipher} {first.group}"
                f"{' after a retry' if first.retried else ''}, {resumed} of {len(hellos)} resumed")
    return found
