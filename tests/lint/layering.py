"""Checks the layers of the architecture by searching the includes.

    base <- {metrics | proto | tls | net | config} <- session <- proxy

token is a program of its own. It may include lib/base and lib/config, and no other folder includes it.

Only lib/net includes libuv. Only lib/tls includes OpenSSL's headers (with its tests, and tools/pki,
which makes certificates). Only lib/config/load.cc and token/toml_file.cc
include toml++. Only token includes libcurl and GnuTLS.
"""

import pathlib
import re
import sys
import unittest

import breaches

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Folder -> the other folders that it may include from.
LAYERS = {
    "lib/base": set(),
    "lib/metrics": {"lib/base"},
    "lib/proto": {"lib/base"},
    "lib/tls": {"lib/base"},
    "lib/net": {"lib/base"},
    "lib/config": {"lib/base"},
    "lib/session": {"lib/base", "lib/metrics", "lib/proto", "lib/tls", "lib/net", "lib/config"},
    "proxy": {"lib/base", "lib/metrics", "lib/proto", "lib/tls", "lib/net", "lib/config",
              "lib/session"},
    "token": {"lib/base", "lib/config"},
}

# Third-party headers -> the files or folders that may include them, and the top folders that the rule is for.
GUARDED = [
    (re.compile(r"uv\.h$|uv/"), {"lib/net"}, {"lib", "proxy"}),
    (re.compile(r"openssl/"), {"lib/tls", "tools/pki"}, {"lib", "proxy", "bench", "tools", "token"}),
    (re.compile(r"toml\+\+/|toml\.hpp$"), {"lib/config/load.cc", "token/toml_file.cc"},
     {"lib", "proxy", "bench", "tools", "tests", "token"}),
    (re.compile(r"curl/|gnutls/"), {"token", "tests/token"}, {"lib", "proxy", "bench", "tools", "tests", "token"}),
]

_INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]', re.M)


def violations(root):
    """Returns every include that breaks a rule, as "file: header"."""
    def layer_of(name):
        return next((layer for layer in LAYERS if name.startswith(layer + "/")), None)

    found = []
    for top in ("lib", "proxy", "bench", "token", "tools", "tests"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix not in (".h", ".cc"):
                continue
            name = path.relative_to(root).as_posix()
            layer = layer_of(name)
            if top == "lib" and layer is None:
                found.append(f"{name}: in no known layer")
            for quote, header in _INCLUDE.findall(path.read_text(encoding="utf-8")):
                if layer and quote == '"':
                    wanted = layer_of(header)
                    if wanted != layer and wanted not in LAYERS[layer]:
                        found.append(f"{name}: {header}")
                for pattern, allowed, tops in GUARDED:
                    if pattern.match(header) and top in tops and not any(
                            name == place or name.startswith(place + "/") for place in allowed):
                        found.append(f"{name}: {header}")
    return found


class Layering(unittest.TestCase):
    def test_the_tree_keeps_its_layers(self):
        self.assertEqual(violations(ROOT), [])
        self.assertTrue((ROOT / "lib/base").is_dir())

    def test_a_violation_is_found(self):
        files = {
            "lib/base/a.h": '#include "lib/proto/role.h"',
            "lib/proto/a.cc": '#include "lib/tls/engine.h"',
            "lib/session/a.cc": "#include <uv.h>",
            "lib/session/b.cc": '#include "proxy/cli.h"',
            "lib/session/client/a.cc": '#include "proxy/admin/pages.h"',
            "lib/net/a.cc": "#  include <openssl/ssl.h>",
            "lib/config/schema.cc": "#include <toml++/toml.h>",
            "lib/elsewhere/a.cc": "",
            "lib/config/a.cc": "#include <curl/curl.h>",
            "proxy/a.cc": '#include "token/http.h"',
            "token/a.cc": '#include "lib/tls/engine.h"',
            "token/b.cc": "#include <openssl/evp.h>",
            "tools/mail_server/a.cc": "#include <openssl/ssl.h>",
        }
        with breaches.tree_of(files) as root:
            found = violations(root)
        self.assertEqual({line.partition(":")[0] for line in found}, set(files))


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
