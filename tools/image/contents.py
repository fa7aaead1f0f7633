"""Chooses the files of the image: the programs, their libraries, the trust store, and the licences of it all."""

import re

import loader
from layout import Entry
from runtime import USER

PROGRAMS = ("usr/sbin/starttls-proxy", "usr/bin/starttls-token")
# Headers that become part of the programs, by their package. The headers of libraries are not here: each of these
# libraries is in the image itself.
HEADERS = ("libcli11-dev", "libexpected-dev", "nlohmann-json3-dev")
DOCUMENTS = "usr/share/doc"
COMMON = re.compile(rb"/usr/share/common-licenses/([\w.-]*\w)")
OWN_COPYRIGHT = f"{DOCUMENTS}/starttls-proxy/copyright"
SBOM = f"{DOCUMENTS}/sbom.spdx.json"
STATUS = "var/lib/dpkg/status.d"
TRUST_STORE = "ca-certificates"

PASSWD = f"root:x:0:0::/:/usr/sbin/nologin\nstarttls-proxy:x:{USER}:{USER}::/:/usr/sbin/nologin\n".encode()
GROUP = f"root:x:0:\nstarttls-proxy:x:{USER}:\n".encode()


def from_packages(installed, headers, pool):
    """Returns the files of Debian's packages that are in the image: path -> file."""
    found = pool.follow("etc/os-release")
    for path in PROGRAMS:
        found |= loader.needed((installed / path).read_bytes(), pool)
    for name in {file.package.name for file in found.values()} | {TRUST_STORE}:
        found |= pool.follow(f"{DOCUMENTS}/{name}/copyright")
    texts = [file.data for path, file in found.items() if path.endswith("/copyright")]
    texts += [header.copyright for header in headers]
    for name in sorted({name.decode() for text in texts for name in COMMON.findall(text)}):
        found |= pool.follow(f"usr/share/common-licenses/{name}")
    return found


def trust_store(pool):
    """Returns the certificates of ca-certificates in one file, as update-ca-certificates writes them. The
    machine's own file may have others."""
    certificates = pool.below("usr/share/ca-certificates/mozilla").values()
    return b"".join(file.data.rstrip(b"\n") + b"\n" for file in certificates)


def base_layer(files, pool):
    """Returns the layer with what is from Debian: it stays the same until Debian changes a package."""
    layer = {path: Entry(file.mode, None if file.target else file.data, file.target, origin=file.package.name)
             for path, file in files.items()}
    # The folders that are links on every current Debian. The loader's own path begins with one.
    for folder in {"bin", "lib", "sbin"} | {path.split("/")[1] for path in files if path.startswith("usr/lib")}:
        layer[folder] = Entry(0o777, target=f"usr/{folder}")
    for name in {entry.origin for entry in layer.values() if entry.origin}:
        # Scanners for vulnerable versions read the packages from here if there is no dpkg.
        layer[f"{STATUS}/{name}"] = Entry(0o644, pool.packages[name].control.encode(), origin=name)
    layer["etc/ssl/certs/ca-certificates.crt"] = Entry(0o644, trust_store(pool), origin=TRUST_STORE)
    return layer


def program_layer(installed, licence, headers):
    """Returns the layer with the programs, from the folder of an installation, and with what is ours."""
    layer = {path: Entry(0o755, (installed / path).read_bytes()) for path in PROGRAMS}
    layer[OWN_COPYRIGHT] = Entry(0o644, licence)
    for header in headers:
        layer[f"{DOCUMENTS}/{header.name}/copyright"] = Entry(0o644, header.copyright, origin=header.name)
    layer["etc/passwd"] = Entry(0o644, PASSWD)
    layer["etc/group"] = Entry(0o644, GROUP)
    layer["etc/nsswitch.conf"] = Entry(0o644, b"hosts: files dns\n")
    layer["tmp"] = Entry(0o1777)
    # Mount points: the configuration, and the refresh tokens of starttls-token.
    layer["etc/starttls-proxy"] = Entry(0o755)
    layer["var/lib/starttls-proxy/tokens"] = Entry(0o700, user=USER)
    return layer
