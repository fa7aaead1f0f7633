"""Renders the Helm chart in conf/helm with the engine that Helm uses, Go's text/template, from npm.

The engine has Go's own functions only. The chart uses one more, sha256sum, and only in one form, which is replaced
by its result before. Helm itself is in no package that the tests may use.
"""

import copy
import hashlib
import pathlib
import re

import yaml

import npm

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "conf" / "helm" / "starttls-proxy"
CHECKSUM = "{{ .Values.config | sha256sum }}"
RELEASE = "mail-gateway"


def is_here():
    return npm.are_here("@evertdespiegeleer/go-template")


def read(name):
    return (CHART / name).read_text(encoding="utf-8")


def values(changes=None):
    """Returns the chart's values with `changes`, a table of changes to them."""
    def merged(old, new):
        if not isinstance(new, dict) or not isinstance(old, dict):
            return new
        return {**old, **{key: merged(old.get(key), each) for key, each in new.items()}}

    return merged(copy.deepcopy(yaml.safe_load(read("values.yaml"))), changes or {})


def render(all_values):
    """Returns template name -> text, as `helm template mail-gateway` makes it."""
    chart = yaml.safe_load(read("Chart.yaml"))
    helpers = read("templates/_helpers.tpl")
    checksum = hashlib.sha256(all_values["config"].encode()).hexdigest()
    templates = {path.name: helpers + path.read_text(encoding="utf-8").replace(CHECKSUM, checksum)
                 for path in sorted((CHART / "templates").iterdir()) if not path.name.startswith("_")}
    # Go's names of the fields of a chart begin with a capital letter.
    fields = {key[0].upper() + key[1:]: value for key, value in chart.items()}
    return npm.run("render.js", {"templates": templates, "values": {
        "Values": all_values, "Chart": fields,
        "Release": {"Name": RELEASE, "Namespace": "mail", "Service": "Helm"}}})


def objects(changes=None, loader=yaml.SafeLoader):
    """Returns the objects of the chart with these changes to its values."""
    found = []
    for name, text in render(values(changes)).items():
        if name.endswith(".yaml"):
            if "<no value>" in text:
                raise AssertionError(f"{name}: a value is missing:\n{text}")
            found += [each for each in yaml.load_all(text, loader) if each is not None]
    return found


def functions():
    """Returns the functions in pipelines of the templates that Go's engine does not have."""
    builtin = {"if", "else", "end", "range", "with", "define", "template", "not", "and", "or", "printf", "eq"}
    found = set()
    for path in (CHART / "templates").iterdir():
        for action in re.findall(r"\{\{-?(.*?)-?\}\}", path.read_text(encoding="utf-8")):
            words = re.sub(r'"[^"]*"', "", action).replace("|", " ").split()
            found |= {word for word in words if re.fullmatch(r"[A-Za-z]\w*", word)} - builtin
    return found
