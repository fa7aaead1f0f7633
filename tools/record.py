"""Records what a command writes to a terminal of 80 columns, with its colours and times, as an asciicast.

    record.py FILE.cast COMMAND [ARGUMENT...]      such as: record.py docs/pictures/demo.cast ./run demo

Ports, times and this machine's names are replaced by fixed ones of the same length, because they differ from run to
run and belong to one machine. tools/draw_recording.py makes a picture of the file; asciinema can play it.
"""

import codecs
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time

COLUMNS, ROWS = 80, 34
FIRST_PORT = 50001

# Each pattern has one group, which is replaced.
FIXED = ((r"\b(20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)", "2026-12-01T09:00:00.000Z"),
         (r"\bsession=([0-9a-f]+)\.", "5e55107a"),
         # The proxy's own name. It is the last word of its row, so its length does not matter.
         (r"\bEHLO (\[[0-9a-fA-F.:]+\]|(?!scanner\.)[\w.-]+)(?=\033|\r)", "[192.0.2.2]"))
PORTS = r"(?:\bport |127\.0\.0\.1:)(\d{5})\b"


def run(command):
    """Runs a command in a terminal. Returns its output as (seconds, text) and its exit status."""
    ours, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    begin = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=other, stderr=other,
                          env={**environment, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}) as process:
        os.close(other)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        events = []
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the command has closed its end
                break
            if not piece:
                break
            if text := decoder.decode(piece):
                events.append((time.monotonic() - begin, text))
    os.close(ours)
    return events, process.returncode


def whole_lines(events):
    """Returns the events cut into lines, so that no pattern is split between two of them."""
    lines, rest = [], ""
    for seconds, text in events:
        *whole, rest = (rest + text).split("\n")
        lines += [(seconds, line + "\n") for line in whole]
    return lines + ([(events[-1][0], rest)] if rest else [])


class Fixed:
    """Replaces what differs from run to run."""

    def __init__(self):
        self._ports = {}

    def text(self, text):
        for pattern, value in FIXED:
            text = re.sub(pattern, lambda found, value=value: self._put(found, value), text)
        return re.sub(PORTS, lambda found: self._put(found, self._port(found[1])), text)

    def _port(self, port):
        return str(self._ports.setdefault(port, FIRST_PORT + len(self._ports)))

    @staticmethod
    def _put(found, value):
        whole, start = found[0], found.start(1) - found.start()
        return whole[:start] + value + whole[start + len(found[1]):]


def main():
    if len(sys.argv) < 3:
        sys.stderr.write("usage: record.py FILE.cast COMMAND [ARGUMENT...]\n")
        return 64
    path, command = sys.argv[1], sys.argv[2:]
    events, status = run(command)
    if status != 0:
        sys.stderr.write("".join(text for _, text in events))
        sys.stderr.write(f"record.py: {command[0]} has ended with status {status}\n")
        return 1
    fixed = Fixed()
    with open(path, "w", encoding="utf-8") as file:
        file.write(json.dumps({"version": 2, "width": COLUMNS, "height": ROWS, "title": " ".join(command)}) + "\n")
        for seconds, text in whole_lines(events):
            file.write(json.dumps([round(seconds, 3), "o", fixed.text(text)], ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
