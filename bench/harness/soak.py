"""Runs hours of half load, to see if memory or descriptors grow.

One proxy has a service for every protocol in both directions. Each service gets short sessions, small
messages and large ones. First all of them run as fast as possible, which gives the rates. Then they run
at half of each rate, open loop, for the wanted time, while memory and descriptors are sampled.
"""

import contextlib
import json
import os
import statistics
import time

from . import charts
from .measure import say
from .ports import free_port
from .programs import BenchError, Program
from .subjects import PROTOCOLS, SUBJECTS

ALLOWED = 0.05  # growth from the first to the last quarter
# Growth below these values means nothing: it is one block of the allocator, or one session.
_SLACK = {"PSS, MB": 0.5, "RSS, MB": 0.5, "descriptors": 8}
_COUNT = 4_000_000_000  # units of work; in effect no limit, because time is the limit

SERVER = "localhost"
_KINDS = {
    "sessions": ("sessions", "--concurrency", "4"),
    "messages": ("messages", "--bytes", "4096", "--sessions", "4"),
    "bulk": ("messages", "--bytes", "2000000", "--sessions", "1"),
}


def configuration(field, pair, services):
    """Returns the proxy's configuration. `pair`: certificate and key. `services`: (protocol, subject, port of
    the service, its server)."""
    # The log level is "warn": a line per session, for hours, would fill the disk.
    # Only root can measure a process in its sandbox.
    sandbox = "true" if os.geteuid() == 0 else "false"
    lines = ["[proxy]", "workers = 1", 'hostname = "proxy.test"', f"sandbox = {sandbox}",
             'drain_timeout = "60s"', "[log]",
             'level = "warn"']
    chain, key = pair
    for protocol, subject, port, upstream in services:
        lines += ["[[service]]", f'name = "{protocol}-{subject.server}"',
                  f'protocol = "{protocol}"', f'listen = "127.0.0.1:{port}"',
                  f'downstream.tls = "{subject.client}"',
                  f'upstream.address = "{upstream}"', f'upstream.tls = "{subject.server}"']
        if subject.server != "none":
            lines += ['upstream.server_name = "mail.test"', f'upstream.ca_file = "{field.ca}"',
                      "upstream.warm = 2"]
        if subject.client != "none":
            lines += ["downstream.certificates = "
                      f'[{{ chain = "{chain}", key = "{key}" }}]']
    return "\n".join(lines) + "\n"


class Soak:
    """The proxy, its servers, and the loads. `turmoil`: the events that happen meanwhile, or None."""

    def __init__(self, field, stack, turmoil=None):
        self._field = field
        wanted = []
        for protocol in PROTOCOLS:
            speaking = field.speaking(protocol)
            for direction in ("upgrade", "terminate"):
                subject = next(each for each in SUBJECTS[direction] if each.kind == "ours")
                wanted.append((protocol, subject, speaking, speaking.backend(subject.server)))
        services, self._ends = [], []  # the latter: protocol, subject, port, field of the protocol
        for protocol, subject, speaking, upstream in wanted:
            port = free_port()
            services.append((protocol, subject, port, f"{SERVER}:{upstream}"))
            self._ends.append((protocol, subject, port, speaking))
        self.file = field.folder / "soak.toml"
        pair = (field.chain, field.key) if turmoil is None else turmoil.pair
        more = "" if turmoil is None else turmoil.configuration()
        self.file.write_text(configuration(field, pair, services) + more, encoding="utf-8")
        wrapper = [] if turmoil is None else turmoil.wrapper
        self.proxy = stack.enter_context(Program(
            "soak", [*wrapper, field.program("proxy/starttls-proxy"), "--config", self.file],
            field.proxy_cpus, field.folder))
        for _, _, port, _ in services:
            self.proxy.wait_for_port(port)

    def load(self, stack, seconds, rates=None):
        """Starts all loads and returns {name: Program}. Without rates they run as fast as possible."""
        running = {}
        for number, (protocol, subject, port, speaking) in enumerate(self._ends):
            for kind, arguments in _KINDS.items():
                name = f"{protocol}, {'upgrade' if subject.client == 'none' else 'terminate'}, {kind}"
                more = ["--count", _COUNT, "--seconds", seconds]
                if kind == "sessions":
                    more += ["--resume"] if subject.client != "none" else []
                elif number % 4 >= 2:  # every second protocol, in both directions
                    more += ["--fetch"]
                if rates is not None:
                    more += ["--rate", f"{rates[name]:.6f}"]
                running[name] = stack.enter_context(
                    speaking.load_at(port, subject.client, *arguments, *more))
        return running

    def sample(self, begin):
        proxy = self.proxy
        return {"seconds": time.monotonic() - begin, "PSS, MB": proxy.pss() / 1e6,
                "RSS, MB": proxy.rss() / 1e6, "descriptors": proxy.descriptors(),
                "CPU, s": proxy.cpu_seconds()}


def quarters(samples, key):
    """Returns the medians of the first and of the last quarter."""
    size = max(len(samples) // 4, 1)
    return tuple(statistics.median(each[key] for each in part)
                 for part in (samples[:size], samples[-size:]))


def slope_per_hour(samples, key):
    """Returns the slope of the line with the least squares."""
    xs = [each["seconds"] / 3600 for each in samples]
    ys = [each[key] for each in samples]
    x, y = statistics.fmean(xs), statistics.fmean(ys)
    square = sum((each - x) ** 2 for each in xs)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys)) / square if square else 0.0


def judge(samples):
    """Returns [(key, first quarter, last quarter, slope per hour, flat)]; the warm-up is left out."""
    end = samples[-1]["seconds"]
    warm = max(end * 0.1, min(60, end * 0.25))
    samples = [each for each in samples if each["seconds"] >= warm] or samples
    rows = []
    for key, slack in _SLACK.items():
        first, last = quarters(samples, key)
        flat = last - first <= max(first * ALLOWED, slack)
        rows.append((key, first, last, slope_per_hour(samples, key), flat))
    return rows


def sessions_at_work(sample, idle):
    """Returns the number of open sessions: each has two descriptors."""
    return max(0, (sample["descriptors"] - idle) / 2)


def run(field, seconds, turmoil=None):
    """Runs the soak and returns the result that `write` needs. BenchError if any data has not arrived."""
    with contextlib.ExitStack() as stack:
        soak = Soak(field, stack, turmoil)
        idle = soak.proxy.descriptors()
        calibration = min(15, max(seconds / 4, 1))
        say(f"  as fast as it goes, for {calibration:g} s")
        with contextlib.ExitStack() as loads:
            closed = {name: load.result(calibration + 120)
                      for name, load in soak.load(loads, calibration).items()}
        # At least two units in the whole time: with less than one, a service would have no load.
        rates = {name: max(result["done"] / result["seconds"] / 2, 2 / seconds)
                 for name, result in closed.items()}
        say(f"  half of it, for {seconds:g} s")
        begin, samples, cpu = time.monotonic(), [], soak.proxy.cpu_seconds()
        step = min(5, max(seconds / 300, 0.1))
        with contextlib.ExitStack() as loads:
            running = soak.load(loads, seconds, rates)
            if turmoil is not None:
                running["smtp, flaky name"] = loads.enter_context(turmoil.load(seconds))
                loads.enter_context(turmoil.beside(soak.proxy, soak.file, seconds))
            while any(load.running() for load in running.values()):
                samples.append(soak.sample(begin))
                if samples[-1]["seconds"] > seconds + 120:
                    raise BenchError("soak: the load has not ended")
                time.sleep(step)
            results = {name: load.result(1) for name, load in running.items()}
        spent = soak.proxy.cpu_seconds() - cpu
        if turmoil is not None and (failed := turmoil.outcomes()):
            raise BenchError(f"soak: sessions that were not ok: {failed}")
        text = soak.proxy.text()
        if soak.proxy.stop() != 0:
            raise BenchError(f"soak: {text[-2000:]}")
    for each in samples:
        each["sessions"] = sessions_at_work(each, idle)
    # Samples from the time when the loads end do not count.
    samples = [each for each in samples if each["seconds"] <= seconds] or samples
    return {"seconds": seconds, "rates": rates, "results": results, "samples": samples,
            "cpu_share": spent / samples[-1]["seconds"], "errors_logged": text.count("level=error"),
            "turmoil": turmoil.counts if turmoil is not None else {}}


def report_lines(about, soak):
    lines = ["# Soak", "", "Every protocol in both directions at half of the rate that the same mixture "
             "reaches in a closed loop: short sessions, 4 KiB messages, 2 MB messages.", ""]
    lines += [f"- {key}: {value}" for key, value in about.items() if not isinstance(value, dict)]
    lines += [f"- {key} meanwhile: {count}" for key, count in soak["turmoil"].items()]
    lines += [f"- seconds: {soak['seconds']:g}", f"- CPU of the proxy: {soak['cpu_share']:.0%}",
              "", "| | first quarter | last quarter | slope an hour | verdict |", "|---" * 5 + "|"]
    rows = judge(soak["samples"])
    for key, first, last, slope, flat in rows:
        lines.append(f"| {key} | {first:.2f} | {last:.2f} | {slope:+.2f} | "
                     f"{'flat' if flat else '**grows**'} |")
    open_now = [each["sessions"] for each in soak["samples"]]
    lines += ["", f"Sessions open: median {statistics.median(open_now):.0f}, at most "
              f"{max(open_now):.0f}.", "", "| load | done | a second | p50, ms | p99, ms | max, ms |",
              "|---" * 6 + "|"]
    for name, result in soak["results"].items():
        times = result["whole_us"] or {"p50": 0, "p99": 0, "max": 0}
        lines.append(f"| {name} | {result['done']} | {result['done'] / result['seconds']:.1f} | "
                     + " | ".join(f"{times[key] / 1e3:.2f}" for key in ("p50", "p99", "max")) + " |")
    lines += ["", "![soak](soak.svg)", ""]
    return lines


def write(folder, about, soak):
    """Writes soak.json, soak.md and soak.svg. Returns the verdict."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "soak.json").write_text(json.dumps({**about, **soak}, indent=1) + "\n",
                                      encoding="utf-8")
    lines = report_lines(about, soak)
    (folder / "soak.md").write_text("\n".join(lines), encoding="utf-8")
    samples = soak["samples"]
    seconds = [each["seconds"] for each in samples]
    (folder / "soak.svg").write_text(charts.courses(
        f"Half load, {soak['seconds']:g} s", seconds,
        [(name, unit, [each[key] for each in samples]) for name, unit, key in (
            ("Memory (PSS)", "MB", "PSS, MB"), ("Memory (RSS)", "MB", "RSS, MB"),
            ("Descriptors", "open", "descriptors"), ("Sessions", "open", "sessions"))]),
        encoding="utf-8")
    rows = judge(samples)
    words = [f"{key}: {first:.2f} -> {last:.2f}, {slope:+.2f} an hour: "
             f"{'flat' if flat else 'GROWS'}" for key, first, last, slope, flat in rows]
    done = sum(each["done"] for each in soak["results"].values())
    total = sum(each["bytes"] for each in soak["results"].values())
    words += [f"{key}: {count}" for key, count in soak["turmoil"].items()]
    return "\n".join([f"{done} units of work, {total / 1e9:.2f} GB, no error", *words])
