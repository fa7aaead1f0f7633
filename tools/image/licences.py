"""Reads debian/copyright, if it is machine-readable, and says it in SPDX's words."""

import dataclasses
import re

# Debian's short names -> SPDX's identifiers.
KNOWN = {
    "apache-2.0": "Apache-2.0", "artistic": "Artistic-1.0-Perl", "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause", "bsd-4-clause": "BSD-4-Clause", "bsl-1.0": "BSL-1.0", "cc0-1.0": "CC0-1.0",
    "expat": "MIT", "mit": "MIT", "isc": "ISC", "mpl-1.1": "MPL-1.1", "mpl-2.0": "MPL-2.0", "openssl": "OpenSSL",
    "zlib": "Zlib",
    **{f"{short}-{version}{plus}": f"{long}-{spelled}-{'or-later' if plus else 'only'}"
       for short, long, versions in (
           ("gpl", "GPL", {"1": "1.0", "2": "2.0", "2.0": "2.0", "3": "3.0", "3.0": "3.0"}),
           ("lgpl", "LGPL", {"2": "2.0", "2.0": "2.0", "2.1": "2.1", "3": "3.0", "3.0": "3.0"}),
           ("agpl", "AGPL", {"3": "3.0"}),
           ("gfdl", "GFDL", {"1.1": "1.1", "1.2": "1.2", "1.3": "1.3"}))
       for version, spelled in versions.items() for plus in ("", "+")},
}
NOT_SAID = "NOASSERTION"


@dataclasses.dataclass(frozen=True)
class Licence:
    """An SPDX expression, and the texts of the licences in it that SPDX has no name for."""
    expression: str
    texts: dict  # "LicenseRef-..." -> (name, text)


def licence_of(package, copyright_file):
    """Returns the licence of all files of a package's source, from the text of its copyright file."""
    if not re.match(r"Format(-Specification)?:.*copyright-format", copyright_file):
        return Licence(NOT_SAID, {})
    paragraphs = [_fields(text) for text in re.split(r"\n(?:[ \t]*\n)+", copyright_file)]
    texts = {}
    for each in paragraphs:
        name, _, text = each.get("license", "").partition("\n")
        if text.strip():
            texts.setdefault(name.strip().lower(), _plain(text))
    parts, unknown = {}, {}
    for each in paragraphs:
        if "files" in each and (name := each.get("license", "").partition("\n")[0].strip()):
            parts[_expression(name, package, texts, unknown)] = None  # each one once, in the file's order
    if not parts:
        return Licence(NOT_SAID, {})
    if len(parts) > 1:
        return Licence(" AND ".join(f"({part})" if " " in part else part for part in parts), unknown)
    return Licence(*parts, unknown)


def _fields(paragraph):
    """Returns the fields of a paragraph: name in small letters -> value, with its further lines."""
    return {match[1].lower(): match[2].strip()
            for match in re.finditer(r"^([A-Za-z-]+):((?:.*)(?:\n[ \t].*)*)", paragraph, re.M)}


def _plain(text):
    """Returns the text of a field without its format: a space before each line, a dot in an empty one."""
    return "\n".join("" if line == " ." else line.removeprefix(" ") for line in text.splitlines())


def _expression(name, package, texts, unknown):
    """Returns a licence as an SPDX expression. A name with an exception or a comma is one that SPDX has not."""
    words = re.split(r"\s+(and|or)\s+", name)
    if re.search(r",|/|\bwith\b|\bexception\b", name):
        words = [name]
    out = []
    for word in words:
        if word in ("and", "or"):
            out.append(word.upper())
        elif word.lower() in KNOWN:
            out.append(KNOWN[word.lower()])
        else:
            reference = "LicenseRef-" + re.sub(r"[^A-Za-z0-9.]+", "-", f"{package}-{word}").strip("-")
            text = texts.get(word.lower(), f"See /usr/share/doc/{package}/copyright in the image.")
            unknown[reference] = (word, text)
            out.append(reference)
    return " ".join(out)
