"""The TOML blocks of docs/recipes, as they are written, with our servers in place of the provider's."""

import re

from .daemon import SANDBOX, toml
from .environment import ROOT, pki

FOLDER = ROOT / "docs" / "recipes"


def blocks(page, language="toml"):
    """Yields (heading, text) of each block in this language of a page."""
    text = (FOLDER / page).read_text(encoding="utf-8")
    for section in re.split(r"^## ", text, flags=re.M)[1:]:
        heading = section.partition("\n")[0]
        for indent, body in re.findall(rf"^( *)```{language}\n(.*?)^ *```$", section, re.M | re.S):
            yield heading, "".join(line.removeprefix(indent) for line in body.splitlines(keepends=True))


def recipe(page, heading, language="toml", wanted="[[service]]"):
    """Returns the first block in this language below a heading that has the wanted text."""
    for at, body in blocks(page, language):
        if at == heading and wanted in body:
            return body
    raise AssertionError(f"{page}: {heading}: no {language}")


def replaced(text, key, value):
    """Returns TOML with another value of a key that it has."""
    changed, count = re.subn(rf"^({re.escape(key)} *= ).*$", lambda found: found[1] + toml(value), text,
                             flags=re.M)
    if count != 1:
        raise AssertionError(f"{key}: {count} times in\n{text}")
    return changed


def configuration(text, server, folder):
    """Returns a recipe's configuration with another server ("HOST:PORT"), on loopback. The files of its
    passwords are in `folder`, by their last name."""
    text = text.partition("\n[admin]\n")[0] + "\n"
    text = replaced(text, "listen", "127.0.0.1:0")
    if "downstream.allow" in text:
        text = replaced(text, "downstream.allow", ["127.0.0.1"])
    text = replaced(text, "upstream.address", server)
    text = text.replace("upstream.address", f'upstream.server_name = "mail.test"\n'
                        f"upstream.ca_file = {toml(pki().ca)}\nupstream.address", 1)
    text = re.sub(r"\$\{file:(?:[^}]*/)?", f"${{file:{folder}/", text)
    text = re.sub(r'^(file *= )"(?:.*/)?', rf'\1"{folder}/', text, flags=re.M)
    return f'[proxy]\nhostname = "proxy.test"\nsandbox = {toml(SANDBOX)}\n[log]\nlevel = "debug"\n' + text
