"""Checks the binary's libraries, recursively: BoringSSL, and never the system's OpenSSL in addition.

Both have the same symbol names. In one process, calls meant for one silently reach the other.

    libraries.py BINARY BORINGSSL_SSL_LIBRARY
    libraries.py --without-boringssl BINARY BORINGSSL_SSL_LIBRARY   libcurl and its libraries instead
"""

import os
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


def errors_without_boringssl(loaded, boringssl):
    folder = os.path.realpath(os.path.dirname(boringssl))
    errors = [f"{name} is BoringSSL's" for name, path in loaded.items()
              if os.path.dirname(os.path.realpath(path)) == folder]
    if not any(name.startswith("libcurl-gnutls.") for name in loaded):
        errors.append("libcurl-gnutls is not loaded")
    return errors


def errors_with_boringssl(loaded, boringssl):
    errors = [f"{name} is loaded" for name in loaded
              if name in ("libssl.so.3", "libcrypto.so.3", "libgnutls.so.30")
              or name.startswith("libcurl")]
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
    return errors


def main():
    *option, binary, boringssl = sys.argv[1:]
    check = errors_without_boringssl if option == ["--without-boringssl"] else errors_with_boringssl
    errors = check(libraries_of(binary), boringssl)
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
