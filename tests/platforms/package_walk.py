"""Walks the way of an administrator with the Debian package, from the first installation to the purge.
Prints each step.

    package_walk.py FOLDER   has one package of starttls-proxy

Run it as root in a Debian of its own, as tests/platforms/package does.
"""

import os
import pathlib
import re
import signal
import sys

sys.dont_write_bytecode = True
from steps import configure, install, mail, make_a_mistake, older, relays, run, step  # pylint: disable=wrong-import-position

FOLDER = pathlib.Path(sys.argv[1])
# Files that apt, dpkg and the tools that make users write for themselves, caches, and folders of the kernel.
OTHERS = re.compile(r"/(dev|proc|run|source|srv|sys|tmp)(/|$)|/var/(cache|lib/(apt|dpkg|ucf)|log)/"
                    r"|/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$|/etc/(\.pwd\.lock|ld\.so\.cache)$")


def files():
    found = set()
    for folder, folders, names in os.walk("/"):
        folders[:] = [name for name in folders if not OTHERS.match(os.path.join(folder, name))]
        found |= {path for name in [*folders, *names] if not OTHERS.match(path := os.path.join(folder, name))}
    return found


def installed():
    """Returns the names of all packages."""
    return set(run("dpkg-query", "--show", "--showformat=${Package}\n").split())


def main():
    [package] = FOLDER.glob("starttls-proxy_*.deb")
    version = run("dpkg-deb", "--field", package, "Version").strip()
    step("install its dependencies")
    packages = installed()
    run("apt-get", "-qq", "--yes", "--no-install-recommends", "satisfy",
        run("dpkg-deb", "--field", package, "Depends"))
    print(f"walk:   {len(installed() - packages)} packages: {' '.join(sorted(installed() - packages))}")
    before, packages = files(), installed()

    step("install version 0.0.9")
    said = install(older(package))
    [advice] = [line for line in said.splitlines() if line.startswith("starttls-proxy: ")]
    print(f"walk:   {advice}")
    assert installed() - packages == {"starttls-proxy"}
    for page in ("README.md", "docs/operations.md", "docs/security.md", "examples/office.toml"):
        assert (pathlib.Path("/usr/share/doc/starttls-proxy") / page).is_file(), page

    step("configure it with the sample, and start it without systemd")
    server, port = mail.Server(), mail.free_port()
    configure(server, port)
    assert mail.check() == 0
    daemon = mail.Daemon()
    relays(server, port, "the first mail")

    step(f"upgrade to {version} while it runs")
    assert not [line for line in install(package).splitlines() if line.startswith("starttls-proxy: ")]
    assert run("dpkg-query", "--show", "--showformat=${Version}", "starttls-proxy") == version
    relays(server, port, "the process of the version before")
    assert daemon.stop() == 0, daemon.log
    daemon = mail.Daemon()
    relays(server, port, "the process of the new version")

    step("reload with a typing error")
    good = make_a_mistake()
    assert mail.check() == 78
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("not reloaded, the old configuration stays")
    relays(server, port, "the old configuration")

    step("correct it and reload")
    mail.CONFIGURATION.write_text(good, encoding="utf-8")
    assert mail.check() == 0
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("msg=reloaded")
    relays(server, port, "the corrected configuration")
    assert daemon.stop() == 0, daemon.log

    step("purge it: the administrator's two files stay")
    run("apt-get", "-qq", "--yes", "purge", "starttls-proxy")
    left = {str(path) for path in mail.FOLDER.rglob("*")}
    assert left == {str(mail.CONFIGURATION), str(mail.FOLDER / "ca.pem")}, left

    step("install and purge it again, without them")
    install(package)
    mail.remove_configuration()
    run("apt-get", "-qq", "--yes", "purge", "starttls-proxy")
    changed = files() ^ before
    assert not changed, sorted(changed)[:50]
    print("walk:   nothing is left of it")


main()
