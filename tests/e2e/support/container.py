"""An unpacked container image, and its programs as a container runtime starts them: with the image's user, on a
read-only root of their own, with the files that are mounted into it. The network is that of the test."""

import json
import os
import pathlib
import subprocess
import tarfile

from . import wait

# Needs root. The process keeps its number, so that a signal reaches the program.
_ENTER = """
set -e
root=$1 user=$2
shift 2
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
while [ "$1" != -- ]; do
  mount --bind "$1" "$root$2"
  if [ -f "$1" ]; then mount -o remount,bind,ro "$root$2"; fi
  shift 2
done
shift
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs chroot --userspec="$user" --groups= "$root" "$@"
"""


class Archive:
    """An image in an archive: an OCI layout, and Docker's manifest beside it."""

    def __init__(self, path):
        with tarfile.open(path) as archive:
            self.files = {member.name: archive.extractfile(member).read()
                          for member in archive if member.isfile()}
        self.index = self.json("index.json")
        self.manifest = self.json(self.blob(self.index["manifests"][0]))
        self.config = self.json(self.blob(self.manifest["config"]))

    def json(self, name):
        return json.loads(self.files[name])

    @staticmethod
    def blob(descriptor):
        return "blobs/" + descriptor["digest"].replace(":", "/")

    def layers(self):
        return [self.files[self.blob(layer)] for layer in self.manifest["layers"]]


class Container:
    """The files of an image in the folder `root`, and its configuration."""

    def __init__(self, archive, root):
        self.root = pathlib.Path(root)
        self.config = archive.config["config"]
        for number, layer in enumerate(archive.layers()):
            file = self.root.with_name(f"layer-{number}.tar.gz")
            file.write_bytes(layer)
            self.root.mkdir(exist_ok=True)
            subprocess.run(["tar", "-xzpf", file, "-C", self.root], check=True)
        for name in ("dev", "proc"):
            (self.root / name).mkdir()

    def enter(self, mounts=None):
        """Returns the beginning of a command line that runs a program of the image. `mounts` maps paths in the
        image to the files and folders that are mounted there."""
        words = []
        for inside, outside in (mounts or {}).items():
            place = self.root / inside.lstrip("/")
            if pathlib.Path(outside).is_dir():
                place.mkdir(parents=True, exist_ok=True)
            else:
                place.touch()
            words += [outside, inside]
        return ["env", "-i", *self.config["Env"], "unshare", "--mount", "--", "sh", "-c", _ENTER, "container",
                self.root, self.config["User"], *words, "--"]

    def run(self, *command, mounts=None):
        """Runs a command to its end. Returns it with its output as text."""
        return subprocess.run(list(map(str, [*self.enter(mounts), *command])), capture_output=True, text=True,
                              check=False, stdin=subprocess.DEVNULL, timeout=2 * wait.DEADLINE)

    def paths(self):
        """Returns the paths of everything in the image."""
        return {str(path.relative_to(self.root)): path for path in self.root.rglob("*")
                if os.path.lexists(path)}
