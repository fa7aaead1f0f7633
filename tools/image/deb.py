"""A Debian package as a file: its fields, and the files that it would install."""

import dataclasses
import io
import posixpath
import re
import subprocess
import tarfile

# These folders are links into /usr on every current Debian, but a package may still name them.
MERGED = re.compile(r"^(bin|sbin|lib|lib32|lib64|libx32)(?=/|$)")


@dataclasses.dataclass(frozen=True)
class File:
    """A file of a package. `target` is the path in a symbolic link, and None for a regular file."""
    package: object
    mode: int
    mtime: int
    target: str | None
    data: bytes


def usr_merged(path):
    """Returns a path in a package as a path from the root: without ./ and with its real folder."""
    return MERGED.sub(r"usr/\1", posixpath.normpath(path).lstrip("/"))


class Package:
    """A .deb. Its `files` are the regular files and the symbolic links, by their path from the root."""

    def __init__(self, path):
        self.path = path
        self.control = _run("dpkg-deb", "--field", path).decode()
        self.name = self.field("Package")
        self.version = self.field("Version")
        self.architecture = self.field("Architecture")
        # "Source: krb5 (1.20.1-2+deb12u5)", or only the name, or nothing if both are the package's.
        source = (self.field("Source") or self.name).split()
        self.source = source[0]
        self.source_version = source[1].strip("()") if len(source) > 1 else self.version
        self.files = dict(self._read())

    def field(self, name):
        found = re.search(rf"^{name}: (.*)$", self.control, re.M)
        return found[1] if found else None

    def _read(self):
        content = _run("dpkg-deb", "--fsys-tarfile", self.path)
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for member in archive:
                # base-files of Debian 13 has the links into /usr. Here these folders have their real names.
                if MERGED.fullmatch(posixpath.normpath(member.name)):
                    continue
                if member.isreg() or member.islnk():
                    data, target = archive.extractfile(member).read(), None
                elif member.issym():
                    data, target = b"", member.linkname
                else:
                    continue
                yield usr_merged(member.name), File(self, member.mode, int(member.mtime), target, data)


def _run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


class Pool:
    """The files of several packages, as one tree."""

    def __init__(self, packages):
        self.packages = {package.name: package for package in packages}
        self._files = {path: file for package in packages for path, file in package.files.items()}

    def follow(self, path):
        """Returns the files on the way to a regular file: the links by their paths, and the file as the last
        one. It is an error if the path leads nowhere."""
        found, wanted = {}, path
        path = usr_merged(path)
        while (link := self._first_link(path)) is not None:
            if link in found:
                raise ValueError(f"{path}: a link that leads to itself")
            found[link] = self._files[link]
            rest = path[len(link):].lstrip("/")
            path = usr_merged(posixpath.join("/", posixpath.dirname(link), found[link].target, rest))
        if path not in self._files:
            raise FileNotFoundError(f"no package has {wanted}")
        return {**found, path: self._files[path]}

    def _first_link(self, path):
        """Returns the shortest part of a path that is a symbolic link, or None."""
        parts = path.split("/")
        for count in range(1, len(parts) + 1):
            part = "/".join(parts[:count])
            if part in self._files and self._files[part].target is not None:
                return part
        return None

    def below(self, folder):
        """Returns the regular files below a folder, sorted by path."""
        return {path: file for path, file in sorted(self._files.items())
                if path.startswith(folder + "/") and file.target is None}
