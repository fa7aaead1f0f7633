"""The scenarios that are measured, and the targets that must be reached."""

import dataclasses

from .subjects import LOGIN, NGINX_PLAIN, OURS, OURS_WITHOUT, PROTOCOLS, SUBJECTS

OVERHEAD = "over direct"  # a difference, not a ratio
ABSOLUTE = "itself"


@dataclasses.dataclass(frozen=True)
class Target:
    """A limit that `figure` of ours must not exceed (at_least: must reach), compared with `against`.

    against: a subject's name, for the ratio to it. "data path" or "all": the ratio to the best of these
    rivals. OVERHEAD: the difference to load and backend without a proxy. ABSOLUTE: the figure itself.
    busy: the target counts in a run with --busy, and only there. aws_lc: the limit of a build of ours with
    AWS-LC, if it is another one.
    """
    figure: str
    against: str
    limit: float
    at_least: bool = False
    busy: bool = False
    aws_lc: float | None = None


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One row of the report. `command` and `size` are load's; `quick` is the size of a smoke test."""
    name: str
    title: str
    direction: str
    command: str
    size: int
    quick: int
    figures: tuple  # keys of a measurement; the charts show the first one
    arguments: tuple = ()
    record: int = 0
    kinds: tuple = ("ours", "job", "data path", "limit", "direct")
    targets: tuple = ()
    warm: bool = False
    rounds: int = 0     # at most; 0 = as many as are wanted
    sessions: int = 0   # at once
    few: int = 0        # the same in a smoke test
    method: str = ""    # a function of measure, if it is not the usual one
    login: str = ""     # when the subjects log in: "connect" or "client"
    protocol: str = ""  # the only one that is measured; "" = the run's
    note: str = ""      # for the report

    @property
    def subjects(self):
        """Returns all subjects that are compared."""
        return LOGIN[self.login] if self.login else SUBJECTS[self.direction]


CPU_GB = "CPU-s/GB"
SPEED = "GB/s"
CPU_SESSION = "CPU-ms/session"
CPU_OP = "CPU-us/op"
RATE = "per second"
READY = "ready p50, ms"
READY99 = "ready p99, ms"
COMMITTED = "committed p50, ms"
P50 = "p50, us"
P99 = "p99, us"
P999 = "p99.9, us"
IDLE = "KB/session"
SCALE = "times one worker"
ONE_WORKER = "CPU-ms/session, 1 worker"
TWO_WORKERS = "CPU-ms/session, 2 workers"
SHARE = "sessions of the busier worker, share"

MEASURED = ("ours", "job", "data path", "limit")
RIVALS = ("ours", "job", "data path")

# The figures of which more is better.
MORE_IS_BETTER = (RATE, SPEED, SCALE)

# Beside another load the proxy has to wait for a CPU, and so do its rivals.
BUSY_READY = Target(READY99, "all", 1.25, busy=True)
GREETING = (Target(READY, "all", 1.0), Target(READY99, "all", 1.0), BUSY_READY)
SMALL_RECORDS = (Target(CPU_GB, "all", 0.45),)
CLEAR = (Target(CPU_GB, "nginx stream", 0.60),)
COMMANDS = (Target(CPU_OP, "all", 0.95), Target(P50, "all", 0.95), Target(P99, "all", 1.0))

# The targets of each scenario.
TARGETS = {
    **dict.fromkeys(("bulk-send-terminate", "bulk-fetch-terminate"), (
        Target(CPU_GB, "all", 0.42), Target(CPU_GB, NGINX_PLAIN, 1.0))),
    **dict.fromkeys(("bulk-send-upgrade", "bulk-fetch-upgrade"), (
        Target(CPU_GB, "stunnel", 0.48), Target(CPU_GB, "data path", 0.58))),
    **dict.fromkeys(("records-1400-upgrade", "records-4096-upgrade", "records-1400-terminate",
                     "records-4096-terminate"), SMALL_RECORDS),
    **dict.fromkeys(("bulk-send-clear", "bulk-fetch-clear", "bulk-send-left-clear",
                     "bulk-fetch-left-clear"), CLEAR),
    "sessions-full-terminate": (Target(CPU_SESSION, "all", 0.75, aws_lc=0.60),
                                Target(RATE, "all", 1.2, at_least=True), BUSY_READY),
    "sessions-resumed-terminate": (Target(CPU_SESSION, "all", 0.70),
                                   Target(RATE, "all", 1.2, at_least=True), BUSY_READY),
    "sessions-upgrade": (Target(CPU_SESSION, "stunnel", 0.28), Target(CPU_SESSION, "data path", 0.55),
                         Target(RATE, "all", 1.3, at_least=True), BUSY_READY),
    "greeting-upgrade": GREETING,
    "greeting-terminate": GREETING,
    "greeting-warm-upgrade": (Target(READY, OVERHEAD, 0.3),),
    "messages-upgrade": (Target(CPU_OP, "all", 0.75),),
    "messages-terminate": (Target(CPU_OP, "all", 0.75),),
    "commands-upgrade": COMMANDS,
    "commands-terminate": COMMANDS,
    **dict.fromkeys(("held-upgrade", "held-terminate", "held-many-upgrade", "held-many-terminate"), (
        Target(IDLE, ABSOLUTE, 4.5),)),
    "login-connect": (Target(CPU_SESSION, OURS_WITHOUT, 1.05), Target(CPU_SESSION, "stunnel", 0.40)),
    "login-client": (Target(CPU_SESSION, OURS_WITHOUT, 1.05),),
    "workers-upgrade": (Target(SCALE, ABSOLUTE, 1.9, at_least=True),),
    "workers-terminate": (Target(SCALE, ABSOLUTE, 1.9, at_least=True),),
}

IDLE_NOTE = "Growth of the proxy's memory (PSS), divided by the sessions."
WORKERS_NOTE = (
    "Load and server need the same CPUs, so that sessions a second say more about them than about the "
    "proxy. What counts here is its own CPU time: with each worker on a CPU of its own, the rate is what "
    "the busier one can do, so capacity = sessions / CPU time of the busiest worker, and the figure is "
    "the capacity of two workers to that of one. It falls below 2 where two workers spend more a session "
    "(locks, shared caches) or share the sessions unevenly. All programs may use all CPUs in both "
    "measurements.")


def message_of(protocol):
    """Returns the name of the figure of a message in a protocol."""
    return f"{protocol}, CPU-us/message"


def _scenarios():
    # Small sizes, for many rounds: a disturbance of the machine lasts longer than a round, so it meets all.
    much, smoke = 250_000_000, 5_000_000
    for direction in ("upgrade", "terminate", "clear", "left-clear"):
        for command in ("send", "fetch"):
            title = direction.replace("left-clear", "left in the clear")
            yield Scenario(f"bulk-{command}-{direction}", f"Bulk, {command}, {title}", direction,
                           command, much, smoke, (CPU_GB, SPEED), kinds=MEASURED)
    for direction in ("upgrade", "terminate"):
        for record in (1400, 4096):
            # Small records come from the server in one direction, from the client in the other.
            command = "fetch" if direction == "upgrade" else "send"
            yield Scenario(f"records-{record}-{direction}",
                           f"Bulk, records of {record} bytes, {direction}", direction, command,
                           much // 2, smoke // 2, (CPU_GB, SPEED), record=record, kinds=RIVALS)
    sessions = (CPU_SESSION, RATE, READY, READY99, COMMITTED)
    closed = ("--concurrency", "32")
    yield Scenario("sessions-full-terminate", "Sessions, full handshake, terminate", "terminate",
                   "sessions", 600, 60, sessions, closed, kinds=MEASURED)
    yield Scenario("sessions-resumed-terminate", "Sessions, resumed, terminate", "terminate",
                   "sessions", 600, 60, sessions, (*closed, "--resume"), kinds=MEASURED)
    yield Scenario("sessions-upgrade", "Sessions, upgrade", "upgrade", "sessions", 600, 60,
                   sessions, closed, kinds=MEASURED)
    greeting = (READY, READY99, COMMITTED)
    for direction in ("upgrade", "terminate"):
        yield Scenario(f"greeting-{direction}", f"Time to a usable greeting, {direction}", direction,
                       "sessions", 100, 20, greeting, ("--concurrency", "1"))
    yield Scenario("greeting-warm-upgrade", "Time to a usable greeting, warm connections",
                   "upgrade", "sessions", 50, 20, greeting, ("--concurrency", "1", "--rate", "50"),
                   kinds=("ours", "direct"), warm=True)
    for direction in ("upgrade", "terminate"):
        yield Scenario(f"arrivals-{direction}", f"Sessions at a fixed rate, {direction}", direction,
                       "sessions", 600, 60, (READY, READY99, COMMITTED, CPU_SESSION),
                       ("--concurrency", "256", "--rate", "200"), rounds=3)
    small = (CPU_OP, P50, P99, P999, RATE)
    for direction in ("upgrade", "terminate"):
        yield Scenario(f"messages-{direction}", f"4 KiB messages, {direction}", direction,
                       "messages", 6000, 200, small, ("--bytes", "4096"))
        yield Scenario(f"commands-{direction}", f"Command round trips, {direction}", direction,
                       "commands", 12_000, 500, small)
    for direction in ("upgrade", "terminate"):
        yield Scenario(f"active-{direction}", f"4 KiB messages of 2000 sessions at once, {direction}",
                       direction, "messages", 40_000, 200, small, ("--bytes", "4096"),
                       rounds=3, sessions=2000, few=20)
    for direction in ("upgrade", "terminate"):
        yield Scenario(f"held-{direction}", f"5000 idle sessions, {direction}", direction, "idle",
                       5000, 20, (IDLE,), ("--concurrency", "128"), rounds=1, kinds=RIVALS, method="held",
                       note=IDLE_NOTE)
        yield Scenario(f"held-many-{direction}", f"50 000 idle sessions, {direction}", direction, "idle",
                       50_000, 40, (IDLE,), ("--concurrency", "128"), rounds=1, kinds=("ours",),
                       method="held_many", note=f"{IDLE_NOTE} Ours only.")
    for direction in ("upgrade", "terminate"):
        yield Scenario(f"protocols-{direction}", f"Every protocol, {direction}", direction,
                       "messages", 5000, 20, tuple(message_of(each) for each in PROTOCOLS),
                       ("--bytes", "4096"), kinds=("ours", "job"), method="protocols",
                       note="CPU-us of a 4 KiB message. Large transfers and commands are checked too.")
    yield Scenario("login-connect", "Sessions, the proxy logs in before the greeting", "upgrade", "sessions",
                   600, 60, sessions, closed, login="connect", protocol="smtp",
                   note="Without login: the same session of a client that need not log in.")
    yield Scenario("login-client", "Sessions, the proxy logs in after the client", "upgrade", "sessions",
                   600, 60, sessions, closed, login="client", protocol="imap",
                   note="Without login: the client's own login passes to the server.")
    for direction in ("upgrade", "terminate"):
        yield Scenario(f"workers-{direction}", f"Two workers, {direction}", direction, "sessions",
                       1500, 60, (SCALE, ONE_WORKER, TWO_WORKERS, SHARE), closed, kinds=("ours",),
                       method="workers", note=WORKERS_NOTE)


SCENARIOS = tuple(dataclasses.replace(each, targets=TARGETS.get(each.name, ()))
                  for each in _scenarios())
