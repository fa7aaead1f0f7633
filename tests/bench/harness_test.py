"""The parts of bench/run that need no program: verdicts, tables, charts. All results are made up."""

import contextlib
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "bench"))

from harness import charts, publish, report, scenarios, soak, subjects, verdict  # noqa: E402
from harness.interval import interval  # noqa: E402
from harness.others import Others  # noqa: E402
from harness.tap import read_hello  # noqa: E402

RUN = {"date": "2026-01-31 12:00 UTC", "cpu": "Some CPU", "cpus": 2, "kernel": "Linux 6.1",
       "protocol": "smtp", "tls": "1.3", "suite": subjects.HOST_SUITE, "rounds": 3, "quick": False,
       "busy": False, "negotiated": {},
       "versions": {"starttls-proxy": "starttls-proxy 0.1.0, BoringSSL (API 17)",
                    "stunnel": "5.68", "rivals' TLS library": "OpenSSL 3.0.9"}}
BY_NAME = {each.name: each for each in scenarios.SCENARIOS}
ROUNDS = 12


def of_scenario(figure, **values):
    """Returns the result of a scenario with one figure. `values`: subject (_ for a space) -> its rounds."""
    return {"figures": {name.replace("_", " ").replace("ours", subjects.OURS): {figure: rounds}
                        for name, rounds in values.items()}, "quantiles": {}, "size": 1}


def bulk(ours, theirs):
    return {"bulk-send-upgrade": of_scenario("CPU-s/GB", ours=ours, stunnel=theirs),
            "bulk-fetch-upgrade": None}


def everything(build=None):
    """Returns results of all scenarios: ours has 1 in each figure, all others have 2."""
    def values(name):
        return [1.0 if name == subjects.OURS else 1.5 if name == build else 2.0] * ROUNDS

    return {scenario.name: {
        "figures": {each.name: {figure: values(each.name) for figure in scenario.figures}
                    for each in scenario.subjects if each.kind in scenario.kinds},
        "quantiles": {}, "size": 1} for scenario in scenarios.SCENARIOS}


@contextlib.contextmanager
def another_build(name):
    """Adds a build of ours while the context lasts. Returns its full name."""
    before = dict(subjects.SUBJECTS)
    try:
        yield subjects.add_build(name)
    finally:
        subjects.SUBJECTS.update(before)


def verdicts_of(name, result, **more):
    return [(each.wanted(), each.word) for _, each in verdict.verdicts(
        BY_NAME[name], result, {**RUN, **more})]


class Verdicts(unittest.TestCase):
    def test_a_median_at_the_limit_is_met_and_one_above_it_is_missed(self):
        for ours, word in (([0.9, 0.48, 0.1], "met"), ([0.9, 0.49, 0.1], "missed")):
            result = of_scenario("CPU-s/GB", ours=ours, stunnel=[1.0] * 3)
            self.assertEqual(verdicts_of("bulk-send-upgrade", result)[0], ("<= 0.48 of stunnel", word))

    def test_what_was_not_measured_says_so(self):
        for result in (None, of_scenario("CPU-s/GB", ours=[1.0]), of_scenario("CPU-s/GB", stunnel=[1.0])):
            self.assertEqual({word for _, word in verdicts_of("bulk-send-upgrade", result)},
                             {"not measured"})

    def test_more_sessions_per_second_are_better(self):
        result = of_scenario("per second", ours=[1300.0], stunnel=[500.0], HAProxy=[1000.0])
        self.assertEqual(verdicts_of("sessions-upgrade", result)[-1], (">= 1.30 of the best rival", "met"))
        result = of_scenario("per second", ours=[1200.0], stunnel=[1000.0], HAProxy=[500.0])
        self.assertEqual(verdicts_of("sessions-upgrade", result)[-1],
                         (">= 1.30 of the best rival", "missed"))

    def test_a_build_with_aws_lc_has_limits_of_its_own(self):
        with another_build("modern") as name:
            result = {"figures": {subjects.OURS: {"CPU-ms/session": [0.7]}, name: {"CPU-ms/session": [0.7]},
                                  "hitch": {"CPU-ms/session": [1.0]}}, "quantiles": {}, "size": 1}
            run = {**RUN, "versions": {**RUN["versions"], name: "starttls-proxy 0.1.0, AWS-LC 5.5"}}
            found = [(build, each.limit, each.word) for build, each in verdict.verdicts(
                BY_NAME["sessions-full-terminate"], result, run) if each.values]
        self.assertEqual(found, [(subjects.OURS, 0.75, "met"), (name, 0.6, "missed")])

    def test_targets_beside_other_load_count_in_such_a_run_only(self):
        scenario, result = BY_NAME["greeting-upgrade"], everything()["greeting-upgrade"]
        for busy, figures in ((False, ["ready p50, ms", "ready p99, ms"]), (True, ["ready p99, ms"])):
            self.assertEqual([each.target.figure for _, each in verdict.verdicts(
                scenario, result, RUN, busy)], figures)

    def test_every_target_has_a_verdict(self):
        wanted = sum(len(each.targets) for each in scenarios.SCENARIOS)
        for measured in ({}, everything()):
            rows = list(verdict.all_verdicts(RUN, measured, measured))
            self.assertEqual(len(rows), wanted)
        self.assertEqual({each.word for _, _, each in verdict.all_verdicts(RUN, {}, {})}, {"not measured"})
        self.assertNotIn("not measured", {each.word for _, _, each in rows})

    def test_every_target_belongs_to_a_scenario_with_its_figure(self):
        self.assertEqual(set(scenarios.TARGETS) - set(BY_NAME), set())
        for scenario in scenarios.SCENARIOS:
            for target in scenario.targets:
                self.assertIn(target.figure, scenario.figures)
                if target.against not in (*verdict.RIVALS, scenarios.ABSOLUTE, scenarios.OVERHEAD):
                    named = [each for each in scenario.subjects if each.name == target.against]
                    self.assertEqual([each.kind in scenario.kinds for each in named], [True], scenario.name)


class Publish(unittest.TestCase):
    PAGE = f"# Title\n\n{publish.BEGIN}\nold\n{publish.END}\n\nThe rest.\n"

    def lines(self, measured, run=None):
        return publish.table(run or RUN, measured, {}).splitlines()

    def row(self, label, measured):
        [line] = [line for line in self.lines(measured) if line.startswith(f"| {label} |")]
        return [cell.strip() for cell in line.split("|")[2:-1]]

    def test_only_the_text_between_the_marks_is_replaced(self):
        text = publish.publish(self.PAGE, RUN, bulk([0.4, 0.5, 0.45], [0.9, 1.0, 0.8]), {})
        self.assertTrue(text.startswith(f"# Title\n\n{publish.BEGIN}\n"))
        self.assertTrue(text.endswith(f"{publish.END}\n\nThe rest.\n"))
        self.assertNotIn("\nold\n", text)
        self.assertIn("- beside: stunnel 5.68 (OpenSSL 3.0.9)\n", text)
        self.assertIn("| bulk, client to server, upgrade, CPU-s/GB | **0.450** | 0.900 | "
                      "0.500 (0.444-0.562) of stunnel |", text)
        self.assertIn("| Bulk, send, upgrade | CPU-s/GB | <= 0.48 of stunnel | "
                      "**missed**: 0.500 (0.444-0.562) |", text)
        again = publish.publish(text, RUN, bulk([0.4, 0.5, 0.45], [0.9, 1.0, 0.8]), {})
        self.assertEqual(again, text)

    def test_without_marks_nothing_is_written(self):
        for page in ("# Title\n", publish.BEGIN, f"{publish.END} {publish.BEGIN}"):
            with self.assertRaises(ValueError):
                publish.publish(page, RUN, bulk([1], [1]), {})
            with self.assertRaises(ValueError):
                publish.publish_line(page, RUN, everything())

    def test_the_best_is_bold_even_if_it_is_a_rival(self):
        label = "bulk, client to server, upgrade, CPU-s/GB"
        self.assertEqual(self.row(label, bulk([2.0], [1.0])), ["2.00", "**1.00**", "2.00 of stunnel"])
        measured = {"sessions-upgrade": of_scenario("per second", ours=[900.0], stunnel=[1000.0],
                                                    plain_relay=[5000.0])}
        self.assertEqual(self.row("session, upgrade, per second", measured)[:3],
                         ["900", "**1000**", "5000"])

    def test_nothing_is_bold_if_ours_alone_was_measured(self):
        measured = {"workers-upgrade": of_scenario("times one worker", ours=[1.9])}
        self.assertEqual(self.row("two workers, times one, upgrade", measured), ["1.90", ""])

    def test_an_interval_that_holds_one_is_no_difference(self):
        label, theirs = "bulk, client to server, upgrade, CPU-s/GB", [1.0] * ROUNDS
        ours = [0.8, 1.2] * (ROUNDS // 2)
        self.assertEqual(self.row(label, bulk(ours, theirs))[-1],
                         "no difference: 1.00 (0.800-1.20) of stunnel")
        self.assertEqual(self.row(label, bulk([0.8] * ROUNDS, theirs))[-1],
                         "0.800 (0.800-0.800) of stunnel")

    def test_latency_and_rate_are_in_the_table(self):
        measured = everything()
        for label in ("time to a usable greeting, upgrade, p99, ms", "command round trip, terminate, p99, us"):
            self.assertEqual(self.row(label, measured)[:2], ["**1.00**", "2.00"])
        for label in ("session, upgrade, per second", "session, full handshake, terminate, per second"):
            self.assertEqual(self.row(label, measured)[:2], ["1.00", "**2.00**"])

    def test_every_row_and_panel_has_a_scenario_with_its_figure(self):
        for name, figure, _ in (*publish.ROWS, *publish.PANELS):
            self.assertIn(figure, BY_NAME[name].figures)
        for name, _ in publish.LATENCIES:
            self.assertLessEqual({scenarios.READY, scenarios.READY99}, set(BY_NAME[name].figures))

    def test_each_build_of_ours_is_a_column_with_its_version_and_verdicts(self):
        with another_build("AWS-LC") as name:
            run = {**RUN, "versions": {**RUN["versions"], name: "starttls-proxy 0.1.0, AWS-LC 5.5"}}
            lines = self.lines(everything(name), run)
            svg = publish.chart(run, everything(name))
        self.assertIn(f"- {name}: 0.1.0, AWS-LC 5.5", lines)
        [head] = [line for line in lines if line.startswith("| | ")]
        self.assertTrue(head.startswith(f"| | {subjects.OURS} | {name} | stunnel | "), head)
        self.assertIn("| Bulk, send, upgrade | CPU-s/GB | <= 0.48 of stunnel | **missed**: 0.500 (0.500-0.500)"
                      " | **missed**: 0.750 (0.750-0.750) |", lines)
        [row] = [line for line in lines if line.startswith("| Sessions, full handshake, terminate | CPU-ms")]
        self.assertTrue(row.endswith(
            "| met: 0.500 (0.500-0.500) of stunnel | **missed**: 0.750 (0.750-0.750) of stunnel, "
            "wanted <= 0.60 of the best rival |"), row)
        self.assertIn(name, svg)

    def test_rivals_of_another_release_are_named_as_such(self):
        lines = self.lines(everything(), {**RUN, "suite": "trixie"})
        self.assertIn("- beside: stunnel 5.68 (OpenSSL 3.0.9), of Debian trixie", lines)

    def test_all_targets_are_counted(self):
        for measured, line in ((everything(), 0),
                               ({}, sum(len(each.targets) for each in scenarios.SCENARIOS))):
            text = publish.table(RUN, measured, measured)
            found = re.search(r"^Targets of starttls-proxy: (\d+) met, (\d+) missed, (\d+) not measured\.$",
                              text, re.M)
            self.assertEqual(int(found[3]), line)
            self.assertEqual(len(re.findall(r"\*\*missed\*\*: .* \|$", text, re.M)), int(found[2]))
            self.assertEqual(len(re.findall(r" \| met: .* \|$", text, re.M)), int(found[1]))

    def test_readme_has_one_line(self):
        text = publish.publish_line(self.PAGE, RUN, everything())
        [line] = text.split(publish.BEGIN)[1].split(publish.END)[0].strip().splitlines()
        self.assertEqual(line, "Measured 2026-01-31, beside the best of the others (1 = the same): CPU time of "
                               "bulk 0.50, a session 0.50, a message 0.50; memory of an idle session 0.50.")
        self.assertEqual(publish.publish_line(self.PAGE, RUN, bulk([1], [1])), self.PAGE)

    def test_the_pages_have_the_marks(self):
        for name in ("docs/benchmarks.md", "README.md"):
            page = (ROOT / name).read_text(encoding="utf-8")
            self.assertEqual((page.count(publish.BEGIN), page.count(publish.END)), (1, 1), name)
            self.assertLess(page.index(publish.BEGIN), page.index(publish.END))
        page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
        published = publish.publish(page, RUN, bulk([1], [1]), {})
        [picture] = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", published)
        self.assertEqual((ROOT / "docs" / picture).resolve(), ROOT / "bench" / "chart.svg")


class Subjects(unittest.TestCase):
    RIVALS = [(direction, each) for direction, rows in subjects.SUBJECTS.items() for each in rows
              if each.name not in subjects.own_names()]

    def test_each_rival_has_a_configuration_for_each_direction(self):
        logins = [("upgrade", each) for rows in subjects.LOGIN.values() for each in rows
                  if each.name not in subjects.own_names()]
        self.assertGreater(len(self.RIVALS), 10)
        for direction, each in self.RIVALS + logins:
            name = f"{subjects.template_of(each, direction)}.conf"
            self.assertTrue((ROOT / "bench" / "rivals" / name).is_file(), name)

    def test_a_relay_without_tls_has_the_configuration_of_one(self):
        found = {subjects.template_of(each, direction) for direction, each in self.RIVALS
                 if each.name == subjects.NGINX_PLAIN}
        self.assertEqual(found, {"nginx-stream-clear"})

    def test_another_build_is_beside_ours_in_every_direction(self):
        with another_build("AWS-LC") as name, another_build("BoringSSL") as second:
            self.assertEqual(subjects.builds(), (subjects.OURS, name, second))
            self.assertLess({name, second}, subjects.own_names())
            for rows in subjects.SUBJECTS.values():
                ours, *others = rows[:3]
                self.assertEqual([each.name for each in others], [name, second])
                self.assertEqual({(each.kind, each.client, each.server) for each in others},
                                 {("ours", ours.client, ours.server)})
        self.assertEqual(subjects.builds(), (subjects.OURS,))


class Report(unittest.TestCase):
    def test_each_library_has_a_folder_of_its_own(self):
        for version, slug in (("BoringSSL (API 17)", "boringssl-api-17"), ("AWS-LC 5.5.0", "aws-lc-5-5-0")):
            self.assertEqual(report.library_slug(
                f"starttls-proxy 0.1.0, libuv 1.44.2, {version}, record cipher: libipsec-mb 1.3.0"), slug)

    def test_a_busy_run_counts_under_the_same_conditions_only(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder) / "today"
            self.assertEqual(report.busy_results(folder, RUN), {})
            busy = folder.with_name(f"today{report.BUSY}")
            measured = {"greeting-upgrade": everything()["greeting-upgrade"]}
            report.write(busy, {**RUN, "busy": True, "date": "2026-01-31 10:00 UTC"}, measured)
            self.assertEqual(list(report.busy_results(folder, RUN)), ["greeting-upgrade"])
            self.assertEqual(report.busy_results(folder, {**RUN, "rounds": 4}), {})
            report.write(busy, RUN, measured)
            self.assertEqual(report.busy_results(folder, RUN), {})

    def test_figures_that_others_have_disturbed_say_so(self):
        calm, disturbed = ({**bulk([1.0], [2.0])["bulk-send-upgrade"], "others": share} for share in (0.01, 0.4))
        scenario = BY_NAME["bulk-send-upgrade"]
        self.assertNotIn("isturbed", "\n".join(report.scenario_lines(scenario, calm)))
        self.assertIn("**Disturbed: other programs had 40 % of the CPUs meanwhile.**",
                      report.scenario_lines(scenario, disturbed))
        self.assertNotIn("Disturbed", publish.table(RUN, {scenario.name: calm}, {}))
        self.assertIn("Disturbed by other programs: Bulk, send, upgrade.",
                      publish.table(RUN, {scenario.name: disturbed}, {}))

    def test_the_time_of_our_own_programs_is_not_that_of_others(self):
        others = Others()
        ours = subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 2: pass"],
                              check=True)
        self.assertEqual(ours.returncode, 0)
        mine = others.count()
        self.assertGreater(mine.ours, 1.9)
        self.assertLessEqual(mine.ours, mine.all + 0.5)

    def test_every_scenario_is_drawn_and_judged(self):
        with tempfile.TemporaryDirectory() as folder:
            verdicts, _, _ = report.write(pathlib.Path(folder), RUN, everything())
            self.assertIn("| Bulk, send, upgrade | CPU-s/GB | <= 0.48 of stunnel |", verdicts)
            for name in BY_NAME:
                xml.etree.ElementTree.parse(pathlib.Path(folder) / "charts" / f"{name}.svg")


class Charts(unittest.TestCase):
    SVG = "{http://www.w3.org/2000/svg}"

    def test_the_chart_is_a_picture(self):
        for measured in (bulk([0.4, 0.5], [0.9, 1.0]), everything()):
            root = xml.etree.ElementTree.fromstring(publish.chart(RUN, measured))
            self.assertEqual((root.tag, root.get("width")), (f"{self.SVG}svg", "900"))
        self.assertIsNone(publish.chart(RUN, {}))
        for values in ([0.0], [-3.0], [-1.0, 2.0]):
            xml.etree.ElementTree.fromstring(charts.bars("title", "KB", [(subjects.OURS, values)]))

    def test_a_subject_has_one_colour_in_every_chart(self):
        def colour(svg, name):
            """Returns the light and the dark colour of the square before a name of the legend."""
            number = re.search(rf'class="fill(\d+)"[^>]*/>\n<text[^>]*>{re.escape(name)}<', svg)[1]
            return re.findall(rf"\.fill{number}{{fill:(#\w+)}}", svg)

        whole = publish.chart(RUN, everything())
        seen = set()
        for name in subjects.columns():
            part = charts.panels("", [("bars", "", "", [("other", [1]), (name, [1])])])
            self.assertEqual(colour(part, name), colour(whole, name))
            self.assertEqual(len(colour(whole, name)), 2)
            seen.add(tuple(colour(whole, name)))
        self.assertEqual(len(seen), len(subjects.columns()))

    def test_every_axis_has_numbers(self):
        svg = publish.chart(RUN, everything())
        for panel in re.split(r"font-size=\"14\"", svg)[1:]:
            lines = panel.count('class="grid"')
            numbers = re.findall(r'class="faint"[^>]*text-anchor="middle"[^>]*>([\d.,]+)<', panel)
            self.assertGreaterEqual(len(numbers), 2)
            self.assertEqual(len(numbers), lines)

    def test_curves_and_courses_are_pictures(self):
        for svg in (charts.curves("title", {name: {"p50": 40, "p99": 200, "p99.9": 1e6} for name in (
                        subjects.OURS, "stunnel", subjects.OURS_WITHOUT)}),
                    charts.courses("title", [0, 60, 120], [("Memory", "MB", [1, 2, 3]), ("x", "", [0, 0, 0])])):
            self.assertEqual(xml.etree.ElementTree.fromstring(svg).get("width"), "900")

    def test_a_curve_ends_where_the_samples_do(self):
        quantiles = {"p50": 1500, "p99": 40000, "p99.9": 90000}
        for count, shares in ((10000, 3), (600, 2), (50, 1)):
            svg = charts.curves("title", {subjects.OURS: {**quantiles, "count": count}})
            path = re.search(r'class="line0" d="M([^"]*)"', svg)[1]
            self.assertEqual(path.count("L") + 1, shares, count)
            self.assertIn(">1.50 / 40.0</text>", svg)

    def test_median_and_99th_percentile_are_in_the_chart(self):
        svg = publish.chart(RUN, everything())
        self.assertEqual(svg.count("dot: p50, ring: p99"), 2)
        self.assertIn(">1.00 / 1.00</text>", svg)


class Tap(unittest.TestCase):
    @staticmethod
    def hello(random, extensions, cipher=b"\x13\x01"):
        body = b"\x03\x03" + random + b"\0" + cipher + b"\0" + (
            len(extensions).to_bytes(2, "big") + extensions)
        message = b"\x02" + len(body).to_bytes(3, "big") + body
        return b"\x16\x03\x03" + len(message).to_bytes(2, "big") + message

    def test_a_hello_after_clear_lines_is_read(self):
        extensions = bytes.fromhex("002b00020304" "003300040017" "0000" "002900020000")
        hello = read_hello(b"220 go\r\n" + self.hello(b"r" * 32, extensions))
        self.assertEqual((hello.version, hello.cipher, hello.group, hello.resumed, hello.retried),
                         ("TLSv1.3", "TLS_AES_128_GCM_SHA256", "P-256", True, False))

    def test_a_hello_retry_is_not_counted_as_the_hello(self):
        random = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
        retry = self.hello(random, bytes.fromhex("002b00020304" "003300020017"))
        self.assertIsNone(read_hello(retry))
        hello = read_hello(retry + self.hello(
            b"r" * 32, bytes.fromhex("002b00020304" "00330004001d" "0000")))
        self.assertEqual((hello.group, hello.resumed, hello.retried), ("X25519", False, True))

    def test_in_tls_1_2_the_group_is_in_the_key_exchange(self):
        hello = self.hello(b"r" * 32, b"", b"\xc0\x2b")
        exchange = bytes.fromhex("0c000004" "03001d20")
        record = b"\x16\x03\x03" + len(exchange).to_bytes(2, "big") + exchange
        full, resumed = read_hello(hello + record), read_hello(hello)
        self.assertEqual((full.version, full.group, full.resumed), ("TLSv1.2", "X25519", False))
        self.assertEqual((resumed.group, resumed.resumed), ("", True))


class Interval(unittest.TestCase):
    def test_it_grows_narrower_with_the_rounds(self):
        for count, expected in ((1, (1, 1)), (5, (1, 5)), (6, (1, 6)), (9, (2, 8)), (12, (3, 10)),
                                (20, (6, 15))):
            self.assertEqual(interval(range(count, 0, -1)), expected)


class SoakVerdict(unittest.TestCase):
    @staticmethod
    def samples(grown):
        """Returns samples of an hour in which memory grows by `grown` MB."""
        return [{"seconds": second, "PSS, MB": 10 + grown * second / 3600, "RSS, MB": 20,
                 "descriptors": 100 + second % 7} for second in range(0, 3601, 5)]

    def verdict(self, grown):
        return {key: (flat, round(slope, 2)) for key, _, _, slope, flat in
                soak.judge(self.samples(grown))}

    def test_growth_is_distinguished_from_noise(self):
        self.assertEqual(self.verdict(0.1)["PSS, MB"], (True, 0.1))
        self.assertEqual(self.verdict(2)["PSS, MB"], (False, 2.0))
        self.assertTrue(self.verdict(2)["descriptors"][0])


if __name__ == "__main__":
    unittest.main()
