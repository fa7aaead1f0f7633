"""The container image: what is in it, that its bill of materials is complete, and that it runs."""

import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

from support import main
from support.client import Client
from support.container import Archive, Container
from support.daemon import Daemon
from support.environment import PROXY, ROOT, pki
from support.fake_server import FakeServer, Smtp, tls_context
from support.token import ACCOUNT
from support.token_endpoint import Endpoint

sys.path.append(str(ROOT / "tools" / "image"))
import deb  # pylint: disable=wrong-import-position
import licences  # pylint: disable=wrong-import-position

PACKAGES = pathlib.Path(os.environ.get("STARTTLS_IMAGE_PACKAGES") or ROOT / "build" / "image-packages")
CONFIG = "/etc/starttls-proxy/starttls-proxy.toml"
STORE = "etc/ssl/certs/ca-certificates.crt"
PROGRAMS = ("usr/sbin/starttls-proxy", "usr/bin/starttls-token")
EPOCH = 1_790_000_000
VENDOR = "org.opencontainers.image.vendor=someone"
as_root = unittest.skipUnless(os.geteuid() == 0, "only root may chroot")


def build(folder, *arguments, epoch=EPOCH):
    """Makes an image in a folder. Returns the path of its archive, and what the script has printed."""
    done = subprocess.run(
        [sys.executable, ROOT / "tools/image/build.py", "--build", PROXY.parent.parent, "--output", folder,
         "--packages", PACKAGES, *arguments], check=True, capture_output=True, text=True,
        env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch)})
    [archive] = pathlib.Path(folder).glob("*.tar")
    return archive, done.stdout


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def setUpModule():
    """Makes one image for all tests."""
    folder = pathlib.Path(unittest.enterModuleContext(tempfile.TemporaryDirectory(prefix="starttls-image-")))
    folder.chmod(0o755)  # the image's user must reach its files
    Image.folder = folder
    Image.path, Image.printed = build(folder / "out", "--label", VENDOR)
    Image.archive = Archive(Image.path)
    Image.container = Container(Image.archive, folder / "root")
    Image.paths = Image.container.paths()
    [bill] = (folder / "out").glob("*.spdx.json")
    Image.text = bill.read_bytes()
    Image.bill = json.loads(Image.text)


class Image(unittest.TestCase):
    """The image that setUpModule has made, for all classes of tests."""
    folder = path = printed = archive = container = paths = text = bill = None


class Format(Image):
    def test_every_blob_has_the_digest_of_its_name(self):
        blobs = {name: data for name, data in self.archive.files.items() if name.startswith("blobs/")}
        self.assertEqual(set(blobs), {f"blobs/sha256/{sha256(data)}" for data in blobs.values()})
        named = [self.archive.index["manifests"][0], self.archive.manifest["config"],
                 *self.archive.manifest["layers"]]
        self.assertEqual({self.archive.blob(each): each["size"] for each in named},
                         {name: len(data) for name, data in blobs.items()})
        self.assertIn(self.archive.index["manifests"][0]["digest"], self.printed)

    def test_docker_finds_the_same_image(self):
        [image] = self.archive.json("manifest.json")
        self.assertEqual(image["Config"], self.archive.blob(self.archive.manifest["config"]))
        self.assertEqual(image["Layers"], [self.archive.blob(each) for each in self.archive.manifest["layers"]])
        self.assertEqual(image["RepoTags"], [
            self.archive.index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"]])

    def test_the_layers_have_the_digests_of_the_configuration(self):
        unpacked = [subprocess.run(["gzip", "-dc"], input=layer, check=True, capture_output=True).stdout
                    for layer in self.archive.layers()]
        self.assertEqual(self.archive.config["rootfs"]["diff_ids"],
                         [f"sha256:{sha256(layer)}" for layer in unpacked])

    def test_the_labels(self):
        labels = self.archive.config["config"]["Labels"]
        prefix = "org.opencontainers.image."
        self.assertEqual(labels, self.archive.manifest["annotations"])
        self.assertLessEqual({f"{prefix}{name}" for name in (
            "title", "description", "version", "licenses", "created")}, set(labels))
        self.assertEqual(labels[f"{prefix}created"], "2026-09-21T14:13:20Z")
        self.assertEqual(labels[f"{prefix}vendor"], "someone")

    def test_the_documentation_names_the_size(self):
        [(size, packed)] = re.findall(r"^size ([\d.]+) MB, compressed ([\d.]+) MB", self.printed, re.M)
        for page in ("README.md", "docs/container.md"):
            text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
            [said] = re.findall(r"(\d+) MB, compressed (\d+) MB", text)
            for named, real in zip(said, (size, packed)):
                self.assertAlmostEqual(float(named) / float(real), 1, delta=0.25, msg=page)

    def test_two_images_are_equal(self):
        again, _ = build(self.folder / "again", "--label", VENDOR)
        self.assertEqual(again.read_bytes(), self.path.read_bytes())
        later, _ = build(self.folder / "later", epoch=EPOCH + 1)
        first, second = (Archive(path).manifest["layers"] for path in (self.path, later))
        self.assertEqual(first[0], second[0])  # what is Debian's stays the same for the next version
        self.assertNotEqual(first[1], second[1])


class Content(Image):
    def test_there_are_no_other_programs(self):
        executable = {name for name, path in self.paths.items()
                      if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o111}
        self.assertEqual({name for name in executable if ".so" not in name}, set(PROGRAMS))

    def test_only_the_folder_of_the_tokens_belongs_to_the_user(self):
        for name, path in self.paths.items():
            status = path.lstat()
            if os.geteuid() == 0:
                tokens = name == "var/lib/starttls-proxy/tokens"
                self.assertEqual((status.st_uid, status.st_gid), (65532, 65532) if tokens else (0, 0), name)
            self.assertFalse(status.st_mode & 0o6000, name)
            if not path.is_symlink() and name.split("/")[0] not in ("dev", "proc", "tmp"):
                self.assertFalse(status.st_mode & 0o022, name)

    def test_no_link_leads_nowhere(self):
        for name, path in self.paths.items():
            if path.is_symlink():
                target = os.readlink(path)
                base = self.container.root if target.startswith("/") else path.parent
                self.assertTrue((base / target.lstrip("/")).exists(), f"{name} -> {target}")

    @as_root
    def test_the_libraries_are_those_that_the_loader_wants(self):
        wanted = set()
        for program in PROGRAMS:
            [loader] = re.findall(r"program interpreter: (.*)\]", subprocess.run(
                ["readelf", "-l", self.paths[program]], check=True, capture_output=True, text=True).stdout)
            done = self.container.run(loader, "--list", f"/{program}")
            self.assertEqual((done.returncode, "not found" in done.stdout), (0, False), done.stdout + done.stderr)
            wanted |= {self.real(path) for path in re.findall(r"(?:^\s|=> )(/\S+)", done.stdout, re.M)}
        self.assertEqual({name for name, path in self.paths.items()
                          if ".so" in path.name and not path.is_symlink()}, wanted)

    def real(self, path):
        """Returns the file of the image that an absolute path in it leads to."""
        inside = pathlib.Path(os.path.realpath(self.container.root / path.lstrip("/")))
        if self.container.root not in inside.parents:  # it was an absolute link
            return self.real(str(inside))
        return str(inside.relative_to(self.container.root))

    def test_the_trust_store_is_debians_alone(self):
        """A private authority of the machine that builds is not in the image."""
        with tempfile.TemporaryDirectory() as folder:
            [package] = (PACKAGES / "archives").glob("ca-certificates_*.deb")
            subprocess.run(["dpkg-deb", "--extract", package, folder], check=True)
            theirs = [path.read_text(encoding="ascii").strip() for path in
                      pathlib.Path(folder).glob("usr/share/ca-certificates/**/*.crt")]
        text = self.paths[STORE].read_text(encoding="ascii")
        self.assertEqual(sorted(re.findall(r"-----BEGIN.*?-----END CERTIFICATE-----", text, re.S)), sorted(theirs))

    def test_no_path_of_the_machine_that_builds_is_in_it(self):
        for name in PROGRAMS:
            self.assertNotIn(str(ROOT).encode(), self.paths[name].read_bytes(), name)


class Bill(Image):
    """SPDX 2.3. The number at a check is that of its clause."""

    def test_it_is_the_file_in_the_image(self):
        self.assertEqual(self.paths["usr/share/doc/sbom.spdx.json"].read_bytes(), self.text)

    def test_the_document_has_the_required_fields(self):
        self.assertEqual(self.bill["spdxVersion"], "SPDX-2.3")  # 6.1
        self.assertEqual(self.bill["dataLicense"], "CC0-1.0")  # 6.2
        self.assertEqual(self.bill["SPDXID"], "SPDXRef-DOCUMENT")  # 6.3
        self.assertTrue(self.bill["name"])  # 6.4
        self.assertRegex(self.bill["documentNamespace"], r"^https://[^#]+$")  # 6.5
        self.assertRegex(self.bill["creationInfo"]["creators"][0], r"^Tool: \S+$")  # 6.8
        self.assertRegex(self.bill["creationInfo"]["created"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")  # 6.9

    def test_the_packages_have_the_required_fields(self):
        files = {each["SPDXID"]: each for each in self.bill["files"]}
        for each in self.bill["packages"]:
            self.assertTrue(each["name"] and each["versionInfo"], each)  # 7.1, 7.3
            self.assertRegex(each["SPDXID"], r"^SPDXRef-[A-Za-z0-9.-]+$")  # 7.2
            self.assertTrue(each["downloadLocation"])  # 7.7
            contained = [files[one["relatedSpdxElement"]] for one in self.relations("CONTAINS", each["SPDXID"])
                         if one["relatedSpdxElement"] in files]
            self.assertEqual(each["filesAnalyzed"], bool(contained), each["name"])  # 7.8
            if contained:  # 7.9
                sums = sorted(self.checksum(file, "SHA1") for file in contained)
                self.assertEqual(each["packageVerificationCode"]["packageVerificationCodeValue"],
                                 hashlib.sha1("".join(sums).encode()).hexdigest())
            self.check_expression(each["licenseDeclared"])

    def check_expression(self, expression):
        """SPDX 2.3, annex D. Each own licence has its text (clause 10)."""
        own = {each["licenseId"] for each in self.bill["hasExtractedLicensingInfos"]}
        self.assertRegex(expression, r"^(\(?[A-Za-z0-9.+-]+\)?( (AND|OR) (?!$)|$))+$")
        self.assertEqual(expression.count("("), expression.count(")"))
        for word in re.findall(r"[A-Za-z0-9.+-]+", expression):
            if word.startswith("LicenseRef-"):
                self.assertIn(word, own)
            elif word not in ("AND", "OR", "NOASSERTION"):
                self.assertRegex(word, r"^(Apache-2\.0|Artistic-1\.0-Perl|BSD-[234]-Clause|BSL-1\.0|CC0-1\.0"
                                 r"|GFDL-1\.[123]-(only|or-later)|A?L?GPL-[123]\.[01]-(only|or-later)"
                                 r"|ISC|MIT|MPL-[12]\.[01]|OpenSSL|Zlib)$")

    def test_every_identifier_exists_and_is_the_only_one(self):
        names = ["SPDXRef-DOCUMENT", *(each["SPDXID"] for each in self.bill["packages"] + self.bill["files"])]
        self.assertEqual(len(names), len(set(names)))
        for each in self.bill["relationships"]:  # 11.1
            self.assertLessEqual({each["spdxElementId"], each["relatedSpdxElement"]}, set(names))
        [described] = self.relations("DESCRIBES", "SPDXRef-DOCUMENT")
        self.assertEqual(described["relatedSpdxElement"], "SPDXRef-Image")

    def test_every_file_of_the_image_is_in_it_with_its_checksum(self):
        regular = {name: path for name, path in self.paths.items() if path.is_file() and not path.is_symlink()}
        del regular["usr/share/doc/sbom.spdx.json"]
        self.assertEqual({each["fileName"]: self.checksum(each, "SHA256") for each in self.bill["files"]},
                         {f"./{name}": sha256(path.read_bytes()) for name, path in regular.items()})
        owned = [one["relatedSpdxElement"] for one in self.relations("CONTAINS")]
        for each in self.bill["files"]:  # exactly one package has it
            self.assertEqual(owned.count(each["SPDXID"]), 1, each["fileName"])

    def test_every_debian_package_has_its_version_and_checksum(self):
        status = {path.name: re.search(r"^Version: (.*)$", path.read_text(encoding="utf-8"), re.M)[1]
                  for path in (self.container.root / "var/lib/dpkg/status.d").iterdir()}
        found = {each["name"]: each for each in self.bill["packages"] if "checksums" in each}
        self.assertEqual({name: each["versionInfo"] for name, each in found.items()}, status)
        for package in (PACKAGES / "archives").glob("*.deb"):
            name = package.name.partition("_")[0]
            self.assertEqual(self.checksum(found[name], "SHA256"), sha256(package.read_bytes()))
            [reference] = found[name]["externalRefs"]
            kind, _, rest = reference["referenceLocator"].partition("@")
            self.assertEqual(kind, "pkg:deb/debian/" + name.replace("+", "%2B"))
            self.assertRegex(rest, r"^[^@+]+\?arch=\w+&distro=debian-\d+")

    def test_libraries_are_related_to_the_proxy(self):
        needed = subprocess.run(["readelf", "--dynamic", PROXY], capture_output=True, text=True, check=True).stdout
        version = subprocess.run([PROXY, "--version"], capture_output=True, text=True, check=True).stdout
        tls_library = ("DYNAMIC_LINK", "android-libboringssl") if "[libssl." in needed else (
            "STATIC_LINK", re.search(r"AWS-LC|BoringSSL", version)[0])
        for kind, name in (("DYNAMIC_LINK", "libuv1"), tls_library, ("STATIC_LINK", "nlohmann-json3-dev")):
            self.assertTrue(any(one["relatedSpdxElement"].startswith(f"SPDXRef-Package-{name}")
                                for one in self.relations(kind, "SPDXRef-Package-starttls-proxy")), name)

    def relations(self, kind, one=None):
        return [each for each in self.bill["relationships"]
                if each["relationshipType"] == kind and one in (None, each["spdxElementId"])]

    @staticmethod
    def checksum(item, algorithm):
        [found] = [each["checksumValue"] for each in item["checksums"] if each["algorithm"] == algorithm]
        return found


@as_root
class Running(Image):
    def config(self, *, port=25, trust=False):
        """Returns the mounts with a configuration, and if `trust` with a store that has the test authority."""
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="starttls-mounts-")))
        file = folder / "proxy.toml"
        file.write_text("\n".join([
            "[[service]]", 'name = "office"', 'protocol = "smtp"', 'listen = "127.0.0.1:0"',
            f'upstream.address = "127.0.0.1:{port}"', 'upstream.server_name = "mail.test"']), encoding="utf-8")
        mounts = {CONFIG: file}
        if trust:
            store = folder / "store.pem"
            store.write_bytes(self.paths[STORE].read_bytes() + pathlib.Path(pki().ca).read_bytes())
            mounts[f"/{STORE}"] = store
        return mounts

    def entrypoint(self):
        return self.container.config["Entrypoint"] + self.container.config["Cmd"]

    def test_the_programs_say_their_versions(self):
        for program in PROGRAMS:
            done = self.container.run(f"/{program}", "--version")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertTrue(done.stdout.startswith(pathlib.Path(program).name + " "), done.stdout)

    def test_the_image_checks_its_configuration(self):
        done = self.container.run(*self.entrypoint(), "--check", mounts=self.config())
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("the system's trust store", done.stdout)
        self.assertNotIn("root", done.stdout + done.stderr)

    def session(self, server, trust):
        """Runs the image with one session. Returns the client's reply to EHLO, and the session's line."""
        enter = self.container.enter(self.config(port=server.port, trust=trust))
        program, *arguments = self.entrypoint()
        with Daemon(wrapper=enter, program=program, arguments=arguments) as daemon:
            status = pathlib.Path(f"/proc/{daemon.process.pid}/status").read_text(encoding="ascii")
            self.assertEqual(re.search(r"^Uid:\s+(.*)$", status, re.M)[1].split(), ["65532"] * 4)
            self.assertEqual(int(re.search(r"^CapEff:\s+(.*)$", status, re.M)[1], 16), 0)
            with Client(daemon.port) as client:
                client.reply()
                reply = client.command(b"EHLO legacy.test")
                if reply.startswith(b"250"):
                    client.command(b"MAIL FROM:<a@legacy.test>")
                    client.command(b"QUIT")
                client.rest()
            return reply, daemon.session()

    def test_a_session_with_a_server_that_the_trust_store_knows(self):
        with FakeServer(Smtp()) as server:
            reply, session = self.session(server, trust=True)
        self.assertTrue(reply.startswith(b"250"), reply)
        self.assertEqual((session["outcome"], session["upstream_verify"]), ("ok", "full"))

    def test_a_server_that_the_trust_store_does_not_know_is_refused(self):
        with FakeServer(Smtp()) as server:
            _, session = self.session(server, trust=False)
        self.assertEqual(session["outcome"], "certificate")

    def test_starttls_token_uses_the_same_trust_store(self):
        tokens = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="starttls-tokens-")))
        with Endpoint(tls_context()) as endpoint:
            file = tokens / "tokens.toml"
            file.write_text("\n".join([
                "[[account]]", f'name = "{ACCOUNT}"', 'client_id = "a"', 'client_secret = "b"',
                'grant = "client_credentials"', f'token_url = "{endpoint.url}/token"']), encoding="utf-8")
            store = tokens / "store"
            store.mkdir(mode=0o700)
            for path in (file, store):
                os.chown(path, 65532, 65532)
            file.chmod(0o600)
            for trust in (False, True):
                mounts = {**self.config(trust=trust), "/etc/starttls-proxy/tokens.toml": file,
                          "/var/lib/starttls-proxy/tokens": store}
                done = self.container.run("/usr/bin/starttls-token", "access", ACCOUNT, mounts=mounts)
                self.assertEqual((done.returncode == 0, done.stdout),
                                 (trust, "access-1\n" if trust else ""), done.stderr)
                self.assertEqual("certificate" in done.stderr, not trust, done.stderr)


class Licences(unittest.TestCase):
    HEAD = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"

    def licence(self, *paragraphs):
        return licences.licence_of("libx1", "\n\n".join([self.HEAD, *paragraphs]))

    def test_a_licence_of_each_paragraph_about_files(self):
        found = self.licence("Files: *\nCopyright: A\nLicense: Expat", "Files: b\nLicense: GPL-2+ or LGPL-2.1",
                             "Files: c\nLicense: Expat", "License: BSD-3-clause\n Text.")
        self.assertEqual(found, licences.Licence("MIT AND (GPL-2.0-or-later OR LGPL-2.1-only)", {}))

    def test_a_licence_without_a_name_in_spdx_has_its_text(self):
        found = self.licence("Files: *\nLicense: own one", "License: own one\n Do as\n you like.\n .\n Or not.")
        self.assertEqual(found.expression, "LicenseRef-libx1-own-one")
        self.assertEqual(found.texts, {found.expression: ("own one", "Do as\nyou like.\n\nOr not.")})

    def test_an_exception_is_a_licence_of_its_own(self):
        found = self.licence("Files: *\nLicense: GPL-3+ with Bison exception")
        self.assertEqual(found.expression, "LicenseRef-libx1-GPL-3-with-Bison-exception")

    def test_a_file_for_people_asserts_nothing(self):
        self.assertEqual(licences.licence_of("libx1", "License: MIT"), licences.Licence("NOASSERTION", {}))


class Packages(unittest.TestCase):
    def test_links_of_merged_folders_in_a_package_lead_nowhere_else(self):
        """base-files of Debian 13 has them."""
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="starttls-deb-")))
        for name, text in (("DEBIAN/control", "Package: base\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.test>\n"
                            "Description: a\n"), ("usr/lib/a/b.so.1.2", "library")):
            (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "tree" / name).write_text(text, encoding="utf-8")
        for name, target in (("lib", "usr/lib"), ("usr/lib/a/b.so.1", "b.so.1.2"), ("usr/lib/c", "/lib/a")):
            (folder / "tree" / name).symlink_to(target)
        subprocess.run(["dpkg-deb", "--build", "--root-owner-group", folder / "tree", folder / "base.deb"], check=True,
                       stdout=subprocess.DEVNULL)
        pool = deb.Pool([deb.Package(folder / "base.deb")])
        self.assertEqual(list(pool.follow("/lib/c/b.so.1")), ["usr/lib/c", "usr/lib/a/b.so.1", "usr/lib/a/b.so.1.2"])
        with self.assertRaisesRegex(FileNotFoundError, "no package has /lib/a/d"):
            pool.follow("/lib/a/d")


class Mistakes(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="starttls-image-")))

    def build(self, packages):
        return subprocess.run(
            [sys.executable, ROOT / "tools/image/build.py", "--build", PROXY.parent.parent, "--output",
             self.folder / "out", "--packages", packages], check=False, capture_output=True, text=True)

    def test_a_library_that_no_package_has_is_an_error(self):
        archives = self.folder / "archives"
        archives.mkdir()
        for package in (PACKAGES / "archives").glob("*.deb"):
            if not package.name.startswith("libuv1"):
                (archives / package.name).symlink_to(package)
        done = self.build(self.folder)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr, "build.py: no package has the library libuv.so.1\n")
        self.assertFalse(list((self.folder / "out").glob("*.tar")))


if __name__ == "__main__":
    main.main()
