"""Checks the binary's libraries, recursively: BoringSSL, and never the system's OpenSSL in addition.

Both have the same symbol names. In one process, calls meant for one silently reach the other.

    libraries.py BINARY BORINGSSL_SSL_LIBRARY
"""

import os
import subprocess
import sys


def main():
    binary, boringssl = sys.argv[1:]
    output = subprocess.run(["ldd", binary], capture_output=True, text=True, check=True).stdout
    print(output)
    loaded = {}
    for line in output.splitlines():
        name, arrow, rest = line.strip().partition(" => ")
        if arrow:
            loaded[name] = rest.rpartition(" (")[0]

    errors = [f"{name} is loaded" for name in loaded
              if name in ("libssl.so.3", "libcrypto.so.3", "libgnutls.so.30")]
    errors += [f"{name} is not found" for name, path in loaded.items() if "/" not in path]
    if boringssl.endswith(".a"):
        errors += [f"{name} is loaded beside a static BoringSSL" for name in loaded
                   if name.startswith(("libssl.", "libcrypto."))]
    else:
        folder = os.path.realpath(os.path.dirname(boringssl))
        for library in ("libssl.", "libcrypto."):
            paths = [path for name, path in loaded.items() if name.startswith(library)]
            if [os.path.dirname(os.path.realpath(path)) for path in paths] != [folder]:
                errors.append(f"{library}so is {paths}, not BoringSSL's in {folder}")
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
