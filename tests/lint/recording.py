"""Checks the recording of the demo and its picture in the README.

To make them again: python3 tools/record.py tools/demo.cast ./run demo
                    python3 tools/draw_recording.py tools/demo.cast docs/pictures/demo.svg
"""

import base64
import json
import pathlib
import re
import sys
import tempfile
import unittest
import xml.etree.ElementTree as tree

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import demo  # pylint: disable=wrong-import-position
import draw_recording  # pylint: disable=wrong-import-position
import record  # pylint: disable=wrong-import-position

RECORDING = ROOT / "tools" / "demo.cast"
PICTURE = ROOT / "docs" / "pictures" / "demo.svg"
MAX_BYTES = 80_000
ELEMENTS = {"svg", "title", "style", "clipPath", "rect", "circle", "text", "g"}
SVG = "{http://www.w3.org/2000/svg}"
ADDRESSES = {"127.0.0.1", "192.0.2.2"}


def plain(text):
    return re.sub(r"\033\[[0-9;]*[mK]", "", text)


class Recording(unittest.TestCase):
    def setUp(self):
        head, *events = map(json.loads, RECORDING.read_text(encoding="utf-8").splitlines())
        self.head = head
        self.text = "".join(text for _, _, text in events)
        self.rows = plain(self.text).replace("\r", "").split("\n")

    def test_it_is_one_of_the_demo_as_it_is_now(self):
        self.assertEqual((self.head["title"], self.head["width"]), ("./run demo", 80))
        self.assertLessEqual(max(map(len, self.rows)), 80)
        for line in (*demo.Smtp.hint.splitlines(), "  " + demo.Smtp.heads[0],
                     *("  -> " + line for line in demo.MESSAGE.decode().split("\r\n")[:3])):
            self.assertTrue(any(row.startswith(line) for row in self.rows), line)
        self.assertRegex(self.text, "unchanged: +\033\\[1;32myes")

    def test_it_has_nothing_of_the_machine(self):
        text = plain(self.text)
        self.assertEqual(re.findall(r"(?<![\w./])/(?!/)\w[\w/.-]*", text), [], "a path")
        self.assertEqual(set(re.findall(r"\d+\.\d+\.\d+\.\d+", text)), ADDRESSES)
        self.assertEqual(record.Fixed().text(self.text), self.text, "a port or a time")
        for password in (demo.PASSWORD, base64.b64encode(demo.PASSWORD)):
            self.assertNotIn(password.decode(), text)

    def test_what_differs_from_run_to_run_is_replaced(self):
        fixed = record.Fixed()
        for text, expected in (
                ("listens on port 40123.\r\n", "listens on port 50001.\r\n"),
                ("--listen 127.0.0.1:2525 \\\r\n", "--listen 127.0.0.1:2525 \\\r\n"),
                ("client=127.0.0.1:56688 server=127.0.0.1:40123\r\n",
                 "client=127.0.0.1:50002 server=127.0.0.1:50001\r\n"),
                ("2027-01-29T15:31:02.361Z session=5d42ba00.0.1", "2026-12-01T09:00:00.000Z session=5e55107a.0.1"),
                ("-> EHLO mail.host.example\033[0m\r\n", "-> EHLO [192.0.2.2]\033[0m\r\n"),
                ("-> EHLO scanner.office.test\r\n", "-> EHLO scanner.office.test\r\n")):
            self.assertEqual(fixed.text(text), expected)


class Picture(unittest.TestCase):
    def test_it_is_drawn_from_the_recording(self):
        self.assertEqual(PICTURE.read_text(encoding="utf-8"), draw_recording.draw(RECORDING))

    def test_it_is_small_and_stands_alone(self):
        text = PICTURE.read_bytes()
        self.assertLess(len(text), MAX_BYTES)
        root = tree.fromstring(text)
        self.assertEqual({each.tag.removeprefix(SVG) for each in root.iter()} - ELEMENTS, set())
        for each in root.iter():
            self.assertEqual([name for name in each.attrib if name.startswith("on") or "href" in name], [])
        style = root.find(SVG + "style").text
        self.assertNotRegex(style, r"url\(|@import|@font-face")
        self.assertIn("prefers-color-scheme: dark", style)
        self.assertIn("prefers-reduced-motion", style)
        light, dark, _ = style.split("@media")
        names = {name for each in root.iter() for name in each.get("class", "").split()}
        for name in names - {"rows", "keys"}:
            for part in (light, dark):
                self.assertRegex(part, rf"\.{name}\b[^}}]*fill:")

    def test_what_cannot_be_drawn_is_an_error(self):
        for row in ("\033[35mmagenta", "a\tb", "\033[2Jgone"):
            with self.assertRaises(ValueError):
                draw_recording.runs(row)
        self.assertEqual(draw_recording.runs("wiped\r\033[K\033[1mbold\033[0m  and  not\r"),
                         [(0, "bold", "1"), (6, "and", ""), (11, "not", "")])

    def test_a_recording_is_drawn_at_a_pace_that_can_be_read(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "a.cast"
            path.write_text('{"version": 2, "width": 80, "title": "ls"}\n[5.0, "o", "a & b\\r\\n"]\n'
                            '[5.0, "o", "c\\r\\n"]\n[99.0, "o", "d\\r\\n"]\n', encoding="utf-8")
            command, rows = draw_recording.read(path)
            self.assertEqual(command, "ls")
            self.assertEqual([row for _, row in rows],
                             [[(0, "a & b", "")], [(0, "c", "")], [(0, "d", "")]])
            times = draw_recording.paced(rows, 1)
            self.assertEqual([round(each, 2) for each in times], [1.17, 1.34, 2.24])
            self.assertIn("a &amp; b", draw_recording.draw(path))


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
