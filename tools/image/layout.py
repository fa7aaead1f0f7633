"""Writes layers and images in the format of the Open Container Initiative (OCI), with equal bytes for equal content.

The archive has manifest.json too, so that older versions of Docker load it.
"""

import dataclasses
import gzip
import hashlib
import io
import json
import pathlib
import tarfile

CONFIG = "application/vnd.oci.image.config.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A file, link or folder of a layer. A folder has neither a target nor data."""
    mode: int
    data: bytes | None = None
    target: str | None = None
    user: int = 0
    origin: str = ""  # the name of the package that it is from


def archive_of(entries, mtime):
    """Returns a tar archive of the entries, sorted by path, with the folders above them."""
    folders = {str(parent) for path in entries for parent in pathlib.PurePosixPath(path).parents}
    entries = {**{path: Entry(0o755) for path in folders - {"."}}, **entries}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, entry in sorted(entries.items()):
            info = tarfile.TarInfo(path)
            info.mode, info.mtime, info.uid, info.gid = entry.mode, mtime, entry.user, entry.user
            if entry.target is not None:
                info.type, info.linkname = tarfile.SYMTYPE, entry.target
            elif entry.data is None:
                info.type = tarfile.DIRTYPE
            else:
                info.size = len(entry.data)
            archive.addfile(info, io.BytesIO(entry.data) if entry.data is not None else None)
    return out.getvalue()


def encoded(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Image:
    """An image in the making: its layers, and the blobs that it consists of."""

    def __init__(self):
        self.blobs = {}
        self.layers = []  # descriptors
        self.unpacked_digests = []
        self.unpacked_bytes = 0
        self.history = []

    def add_blob(self, data, media_type):
        self.blobs[digest(data)] = data
        return {"mediaType": media_type, "digest": digest(data), "size": len(data)}

    def add_layer(self, entries, mtime, words):
        data = archive_of(entries, mtime)
        self.unpacked_digests.append(digest(data))
        self.unpacked_bytes += sum(len(entry.data or b"") for entry in entries.values())
        self.layers.append(self.add_blob(gzip.compress(data, compresslevel=6, mtime=0), LAYER))
        self.history.append(words)

    def finish(self, *, architecture, created, runtime, annotations, name):
        """Adds configuration, manifest and index. Returns the files of the layout, and the digest of
        the manifest."""
        config = self.add_blob(encoded({
            "created": created,
            **architecture,
            "os": "linux",
            "config": {**runtime, "Labels": annotations},
            "rootfs": {"type": "layers", "diff_ids": self.unpacked_digests},
            "history": [{"created": created, "created_by": words} for words in self.history],
        }), CONFIG)
        manifest = self.add_blob(encoded({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": self.layers,
            "annotations": annotations}), MANIFEST)
        index = encoded({
            "schemaVersion": 2, "mediaType": INDEX,
            "manifests": [{**manifest, "platform": {**architecture, "os": "linux"},
                           "annotations": {"org.opencontainers.image.ref.name": name}}]})
        files = {blob_path(key): data for key, data in self.blobs.items()}
        files["index.json"] = index
        files["oci-layout"] = encoded({"imageLayoutVersion": "1.0.0"})
        files["manifest.json"] = encoded([{
            "Config": blob_path(config["digest"]), "RepoTags": [name],
            "Layers": [blob_path(layer["digest"]) for layer in self.layers]}])
        return files, manifest["digest"]


def blob_path(key):
    return "blobs/" + key.replace(":", "/")
