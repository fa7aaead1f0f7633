"""Writes the bill of materials of the image in SPDX 2.3: packages, their files, and how they belong together."""

import hashlib
import json
import re
import urllib.parse
import uuid

import licences

IMAGE = "SPDXRef-Image"
PROXY = "SPDXRef-Package-starttls-proxy"


def identifier(kind, name):
    return f"SPDXRef-{kind}-" + re.sub(r"[^A-Za-z0-9.-]", "-", name)


def purl(system, release, package):
    """Returns the name of a Debian package that scanners compare with lists of vulnerable versions."""
    qualifiers = f"arch={package.architecture}&distro={system}-{release}"
    if package.source != package.name:
        qualifiers += "&upstream=" + urllib.parse.quote(f"{package.source}@{package.source_version}", safe="")
    return (f"pkg:deb/{system}/{urllib.parse.quote(package.name, safe='')}"
            f"@{urllib.parse.quote(package.version, safe='')}?{qualifiers}")


class Document:
    """A bill of materials in the making."""

    def __init__(self, *, system, release, created):
        self._system, self._release = system, release  # "debian", "12"
        self._created = created
        self._packages, self._files, self._licences, self._relations = [], [], {}, []

    def add_image(self, name, version):
        self._packages.append({
            "SPDXID": IMAGE, "name": name, "versionInfo": version, "primaryPackagePurpose": "CONTAINER",
            "downloadLocation": licences.NOT_SAID, "filesAnalyzed": False,
            "licenseConcluded": licences.NOT_SAID, "licenseDeclared": licences.NOT_SAID,
            "copyrightText": licences.NOT_SAID})
        self.relate("SPDXRef-DOCUMENT", "DESCRIBES", IMAGE)

    def add_proxy(self, version, files):
        self._add({"SPDXID": PROXY, "name": "starttls-proxy", "versionInfo": version,
                   "primaryPackagePurpose": "APPLICATION", "licenseDeclared": "Apache-2.0"}, files)
        self.relate(IMAGE, "CONTAINS", PROXY)

    def add_debian_package(self, package, copyright_file, files):
        """Adds a package with those of its files that are in the image."""
        key = identifier("Package", package.name)
        self._add({
            "SPDXID": key, "primaryPackagePurpose": "LIBRARY", **self._debian(package, copyright_file),
            "checksums": [{"algorithm": "SHA256",
                           "checksumValue": hashlib.sha256(package.path.read_bytes()).hexdigest()}],
        }, files)
        self.relate(IMAGE, "CONTAINS", key)
        if any(path.startswith("usr/lib/") and ".so" in path for path in files):
            self.relate(PROXY, "DYNAMIC_LINK", key)

    def add_header(self, package, files):
        """Adds a package of headers, which are compiled into the programs."""
        key = identifier("Package", package.name)
        self._add({"SPDXID": key, "primaryPackagePurpose": "LIBRARY",
                   **self._debian(package, package.copyright.decode())}, files)
        self.relate(PROXY, "STATIC_LINK", key)

    def add_static_library(self, name, version):
        """Adds a library that is not from Debian and is linked into the programs."""
        key = identifier("Package", name)
        self._add({"SPDXID": key, "name": name, "versionInfo": version, "primaryPackagePurpose": "LIBRARY",
                   "licenseDeclared": licences.NOT_SAID}, {})
        self.relate(PROXY, "STATIC_LINK", key)

    def _debian(self, package, copyright_file):
        licence = licences.licence_of(package.name, copyright_file)
        self._licences |= licence.texts
        return {
            "name": package.name, "versionInfo": package.version, "supplier": "Organization: Debian",
            "sourceInfo": f"built from the source package {package.source} {package.source_version}",
            "licenseDeclared": licence.expression,
            "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                              "referenceLocator": purl(self._system, self._release, package)}]}

    def _add(self, package, files):
        for path in sorted(files):
            key = identifier("File", path)
            self._files.append({
                "SPDXID": key, "fileName": f"./{path}", "licenseConcluded": licences.NOT_SAID,
                "copyrightText": licences.NOT_SAID,
                "checksums": [{"algorithm": name, "checksumValue": hashlib.new(name, files[path]).hexdigest()}
                              for name in ("SHA1", "SHA256")]})
            self.relate(package["SPDXID"], "CONTAINS", key)
        analyzed = {"filesAnalyzed": False}
        if files:
            sums = "".join(sorted(hashlib.sha1(data).hexdigest() for data in files.values()))
            analyzed = {"filesAnalyzed": True, "packageVerificationCode": {
                "packageVerificationCodeValue": hashlib.sha1(sums.encode()).hexdigest()}}
        self._packages.append({"downloadLocation": licences.NOT_SAID, "licenseConcluded": licences.NOT_SAID,
                               "copyrightText": licences.NOT_SAID, **analyzed, **package})

    def relate(self, one, kind, other):
        self._relations.append({"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other})

    def text(self):
        """Returns the document as JSON. Equal contents give an equal document, with an equal namespace."""
        document = {
            "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
            "name": "starttls-proxy-image",
            "creationInfo": {"created": self._created, "creators": ["Tool: starttls-proxy-image"]},
            "packages": self._packages, "files": self._files, "relationships": self._relations,
            "hasExtractedLicensingInfos": [
                {"licenseId": key, "name": name, "extractedText": text}
                for key, (name, text) in sorted(self._licences.items())]}
        key = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(document, sort_keys=True))
        document["documentNamespace"] = f"https://spdx.org/spdxdocs/starttls-proxy-image-{key}"
        return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"
