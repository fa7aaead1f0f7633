"""Checks the binary's libraries, recursively: one for TLS, and never the system's OpenSSL in addition.

Both have the same symbol names. In one process, calls meant for one silently reach the other.

    libraries.py BINARY TLS_SSL_LIBRARY
    libraries.py --without-tls-library BINARY TLS_SSL_LIBRARY   libcurl and its libraries instead
"""

import os
import re
import subprocess
import sys


def libraries_of(binary):
    """Returns name -> path of the libraries that the loader finds."""
    output = subprocess.run(["ldd", binary], capture_output=True, text=True, check=True).stdout
    print(output)
    loaded = {}
    for line in output.splitlines():
        name, arrow, rest = line.strip().partition(" => ")
        if arrow:
            loaded[name] = rest.rpartition(" (")[0]
    return loaded


def errors_without(loaded, ours):
    folder = os.path.realpath(os.path.dirname(ours))
    errors = [f"{name} is our TLS library's" for name, path in loaded.items()
              if os.path.dirname(os.path.realpath(path)) == folder]
    if not any(name.startswith("libcurl-gnutls.") for name in loaded):
        errors.append("libcurl-gnutls is not loaded")
    return errors


def errors_with(loaded, wanted):
    errors = [f"{name} is loaded" for name in loaded
              if name in ("libssl.so.3", "libcrypto.so.3", "libgnutls.so.30")
              or name.startswith("libcurl")]
    errors += [f"{name} is not found" for name, path in loaded.items() if "/" not in path]
    if wanted.endswith(".a"):
        errors += [f"{name} is loaded beside a static TLS library" for name in loaded
                   if re.match(r"lib(ssl|crypto)(-awslc)?\.so", name)]
    else:
        folder = os.path.realpath(os.path.dirname(wanted))
        for library in ("libssl", "libcrypto"):
            # AWS-LC's have a suffix in a distribution's package.
            paths = [path for name, path in loaded.items()
                     if re.match(rf"{library}(-awslc)?\.so\.", name)]
            if [os.path.dirname(os.path.realpath(path)) for path in paths] != [folder]:
                errors.append(f"{library} is {paths}, not that in {folder}")
    return errors


def main():
    *option, binary, wanted = sys.argv[1:]
    check = errors_without if option == ["--without-tls-library"] else errors_with
    errors = check(libraries_of(binary), wanted)
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
