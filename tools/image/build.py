#!/usr/bin/env python3
"""Makes the container image, without a container engine and without root.

It has the two programs, the libraries that they need, the trust store and the licences, and nothing else: no shell,
no package manager. The libraries are Debian's newest, from the mirrors of this machine's apt sources. So the programs
must be built on the same version of Debian.

    cmake --preset release && cmake --build build/release --target starttls-proxy starttls-token
    tools/image/build.py

Below build/image are then

    starttls-proxy-VERSION-ARCHITECTURE.tar         for `podman load -i` and `docker load -i`
    starttls-proxy-VERSION-ARCHITECTURE.spdx.json   what is in it, the same file as in the image
    layout                                          the same image as a folder, for skopeo and others

Two builds of the same commit and the same packages are equal, byte for byte. SOURCE_DATE_EPOCH replaces the time of
the commit.
"""

import argparse
import collections
import dataclasses
import datetime
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import contents
import loader
import runtime
import sbom
from deb import Package, Pool
from layout import Entry, Image, archive_of

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Debian's names of architectures -> those of OCI.
ARCHITECTURES = {
    "amd64": {"architecture": "amd64"}, "i386": {"architecture": "386"}, "arm64": {"architecture": "arm64"},
    "armhf": {"architecture": "arm", "variant": "v7"}, "ppc64el": {"architecture": "ppc64le"},
    "riscv64": {"architecture": "riscv64"}, "s390x": {"architecture": "s390x"}}


@dataclasses.dataclass(frozen=True)
class Header:
    """A package of headers as it is installed on this machine."""
    name: str
    version: str
    architecture: str
    source: str
    source_version: str
    copyright: bytes


def run(*command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout.strip()


def header(name):
    fields = run("dpkg-query", "--show", "--showformat="
                 "${Version} ${Architecture} ${source:Package} ${source:Version}", name).split()
    return Header(name, *fields, pathlib.Path("/usr/share/doc", name, "copyright").read_bytes())


def revision():
    """Returns the commit that is built, with -dirty after it if files are changed, or "" without git."""
    described = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
                               capture_output=True, text=True, check=False)
    return described.stdout.strip()


def epoch():
    if "SOURCE_DATE_EPOCH" in os.environ:
        return int(os.environ["SOURCE_DATE_EPOCH"])
    if revision():
        return int(run("git", "-C", ROOT, "log", "-1", "--format=%ct"))
    sys.exit("build.py: without git, SOURCE_DATE_EPOCH must give the time of the image")


def tls_library(program):
    """Returns name and version of the TLS library in the program, as `--version` prints them."""
    library = run(program, "--version").splitlines()[2]
    name, version = re.fullmatch(r"(\S+) \(?(.*?)\)?", library).groups()
    return name, version


def links_shared_tls_library(program):
    return re.search(r"\(NEEDED\).*\[libssl[.-]", loader.described(program.read_bytes())) is not None


def bill(layers, pool, headers, *, installed, version, created):
    """Returns the bill of materials for the content of the layers."""
    by_origin = collections.defaultdict(dict)
    for path, entry in layers.items():
        if entry.data is not None:
            by_origin[entry.origin][path] = entry.data
    release = dict(re.findall(r'^(\w+)="?(.*?)"?$', layers["usr/lib/os-release"].data.decode(), re.M))
    document = sbom.Document(system=release["ID"], release=release["VERSION_ID"], created=created)
    document.add_image("starttls-proxy-image", version)
    document.add_proxy(version, by_origin.pop(""))
    for each in headers:
        document.add_header(each, by_origin.pop(each.name))
    for name, files in sorted(by_origin.items()):
        copyright_file = list(pool.follow(f"{contents.DOCUMENTS}/{name}/copyright").values())[-1].data
        document.add_debian_package(pool.packages[name], copyright_file.decode(), files)
    program = installed / contents.PROGRAMS[0]
    if not links_shared_tls_library(program):
        document.add_static_library(*tls_library(program))
    return document.text()


def make(installed, packages, name, labels):
    """Makes the image. Returns its tag, the files of its layout, its bill of materials, and words about it."""
    pool = Pool([Package(path) for path in sorted(packages.glob("*.deb"))])
    headers = [header(package) for package in contents.HEADERS]
    version = run(installed / contents.PROGRAMS[0], "--version").splitlines()[0].split()[1]
    commit, seconds = revision(), epoch()
    created = datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    files = contents.from_packages(installed, headers, pool)
    base = contents.base_layer(files, pool)
    program = contents.program_layer(installed, (ROOT / "LICENSE").read_bytes(), headers)
    text = bill({**base, **program}, pool, headers, installed=installed, version=version, created=created)
    program[contents.SBOM] = Entry(0o644, text)

    image = Image()
    image.add_layer(base, max(file.mtime for file in files.values()), "libraries, trust store and licences of Debian")
    image.add_layer(program, seconds, "starttls-proxy")
    annotations = {f"org.opencontainers.image.{key}": value for key, value in {
        "title": "starttls-proxy", "description": "STARTTLS proxy for mail", "version": version,
        "licenses": "Apache-2.0", "created": created, "revision": commit}.items() if value}
    layout, digest = image.finish(
        architecture=ARCHITECTURES[run("dpkg", "--print-architecture")], created=created, runtime=runtime.CONFIG,
        annotations=annotations | labels, name=f"{name}:{version}")
    packed = sum(layer["size"] for layer in image.layers)
    words = (f"image {name}:{version}\ndigest {digest}\n"
             f"size {image.unpacked_bytes / 1e6:.1f} MB, compressed {packed / 1e6:.1f} MB; "
             f"{len({file.package.name for file in files.values()})} packages")
    return version, layout, text, words


def label(text):
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError("a label is NAME=VALUE")
    return key, value


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release", metavar="FOLDER",
                        help="where the programs were built (build/release)")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "build/image", metavar="FOLDER",
                        help="where the image is written (build/image)")
    parser.add_argument("--packages", type=pathlib.Path, metavar="FOLDER",
                        help="Debian packages that are there already, from tools/image/packages")
    parser.add_argument("--name", default="localhost/starttls-proxy", help="(localhost/starttls-proxy)")
    parser.add_argument("--label", type=label, action="append", default=[], metavar="NAME=VALUE",
                        help="for example org.opencontainers.image.source=https://example.org/starttls-proxy")
    given = parser.parse_args()

    given.output.mkdir(parents=True, exist_ok=True)
    packages = given.packages
    if packages is None:
        packages = given.output / "packages"
        shutil.rmtree(packages, ignore_errors=True)  # there may be newer ones
        subprocess.run([ROOT / "tools/image/packages", packages, given.build / "proxy/starttls-proxy",
                        given.build / "token/starttls-token"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        run("cmake", "--install", given.build, "--prefix", "/usr", "--strip", env={**os.environ, "DESTDIR": folder})
        try:
            version, layout, text, words = make(pathlib.Path(folder), packages / "archives", given.name,
                                                dict(given.label))
        except FileNotFoundError as error:
            sys.exit(f"build.py: {error}")

    stem = f"starttls-proxy-{version}-{run('dpkg', '--print-architecture')}"
    archive = archive_of({path: Entry(0o644, data) for path, data in layout.items()}, epoch())
    (given.output / f"{stem}.tar").write_bytes(archive)
    (given.output / f"{stem}.spdx.json").write_bytes(text)
    folder = given.output / "layout"
    shutil.rmtree(folder, ignore_errors=True)
    for path, data in layout.items():
        if path != "manifest.json":  # only Docker's archives have it
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
    print(f"{given.output / stem}.tar\n{words}")


if __name__ == "__main__":
    main()
