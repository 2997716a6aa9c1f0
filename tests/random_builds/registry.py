"""Base images in the testbed's registry whose tags move."""

import gzip
import hashlib
import io
import json
import tarfile
import urllib.request

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


TRIGGERS = 3
"""The variant with an `ONBUILD`."""


class Bases:
    """A repository with five variants of busybox, and tags that mean one of them."""

    def __init__(self, registry: str, repository: str):
        self.registry, self.repository = registry, repository
        self.name = f"{registry}/{repository}"
        source = "library/busybox"
        manifest = self.json(f"{source}/manifests/latest")
        layers = [self.bring(source, layer) for layer in manifest["layers"]]
        config = self.json(f"{source}/blobs/{manifest['config']['digest']}")
        self.variants: list[bytes] = []
        self.add(config, layers)
        # Another layer; another variable; a trigger; a label, which changes no step.
        self.add(*self.with_layer(config, layers, b"another"))
        for change in ({"Env": ["PATH=/bin", "FROM_BASE=1"]}, {"OnBuild": ["RUN echo trigger"]}, {"Labels": {"base": "2"}}):
            self.add(config | {"config": config["config"] | change}, layers)
        self.tags: dict[str, int] = {}

    def move(self, tags: dict[str, int]) -> None:
        for tag, variant in tags.items():
            if self.tags.get(tag) != variant:
                self.send("PUT", f"{self.repository}/manifests/{tag}", self.variants[variant], MANIFEST)
        self.tags = dict(tags)

    def add(self, config: dict, layers: list[dict]) -> None:
        descriptor = self.blob(json.dumps(config).encode()) | {"mediaType": "application/vnd.docker.container.image.v1+json"}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor, "layers": layers}
        self.variants.append(json.dumps(manifest).encode())

    def with_layer(self, config: dict, layers: list[dict], content: bytes) -> tuple[dict, list[dict]]:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            info = tarfile.TarInfo("etc/variant-release")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        tar = buffer.getvalue()
        layer = self.blob(gzip.compress(tar, mtime=0)) | {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip"}
        rootfs = config["rootfs"] | {"diff_ids": [*config["rootfs"]["diff_ids"], "sha256:" + hashlib.sha256(tar).hexdigest()]}
        history = [*config.get("history", []), {"created_by": "variant"}]
        return config | {"rootfs": rootfs, "history": history}, [*layers, layer]

    def blob(self, content: bytes) -> dict:
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        place = self.send("POST", f"{self.repository}/blobs/uploads/").headers["Location"]
        self.send("PUT", f"{place}{'&' if '?' in place else '?'}digest={digest}", content, "application/octet-stream")
        return {"digest": digest, "size": len(content)}

    def bring(self, source: str, descriptor: dict) -> dict:
        query = f"?mount={descriptor['digest']}&from={source}"
        if self.send("POST", f"{self.repository}/blobs/uploads/{query}").status != 201:
            raise SystemExit(f"error: {self.registry} does not mount layers of {source}")
        media = "application/vnd.docker.image.rootfs.diff.tar.gzip"
        return {"mediaType": media, "size": descriptor["size"], "digest": descriptor["digest"]}

    def json(self, path: str) -> dict:
        return json.load(self.send("GET", path))

    def send(self, method: str, path: str, content: bytes | None = None, media: str = ""):
        url = path if "://" in path else f"http://{self.registry}/v2/{path}"
        accepted = f"{MANIFEST}, application/vnd.oci.image.manifest.v1+json, application/json"
        headers = {"Accept": accepted} | ({"Content-Type": media} if media else {})
        if content is None and method == "POST":
            content = b""
        return urllib.request.urlopen(urllib.request.Request(url, content, headers, method=method), timeout=20)
