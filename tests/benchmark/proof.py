"""The pushed images, held against the files and the base that they were built from.

crane reads them, which knows nothing of who built: so a cache that answered with a stale layer is found, by hand or not.
"""

import fnmatch
import io
import json
import tarfile
from pathlib import Path

from .contenders import Job
from .scenarios import Scenario
from .testbed import crane
from .workloads import Shown


class Stale(Exception):
    """An image holds something else than was built, or it cannot be told."""


def check(job: Job, base: str, scenario: Scenario, sample: Path, direct: str) -> None:
    """Raises `Stale` unless every image stands on the base, and holds the source, and changed dependencies.

    `base` is the base image's reference as it is now, `direct` the repository, both past the proxy.
    """
    layers_of_base = layers(base)
    for image in job.workload.images:
        reference = f"{direct}/{image.name}:latest"
        if layers(reference)[: len(layers_of_base)] != layers_of_base:
            raise Stale(f"{reference} does not stand on {base} as it is now")
        wanted = [image.source(sample)] + [job.workload.dependencies] * scenario.changes_dependencies
        missing = absent(reference, wanted)
        if missing:
            raise Stale(f"{reference} does not hold what was built, in {' or '.join(shown.pattern for shown in missing)}")


def manifest(reference: str) -> dict:
    return json.loads(crane("manifest", "--platform=linux/amd64", reference))


def layers(reference: str) -> list[str]:
    """The digests of the unpacked layers: they stay the same however a layer was compressed."""
    return json.loads(crane("config", "--platform=linux/amd64", reference))["rootfs"]["diff_ids"]


def absent(reference: str, wanted: list[Shown]) -> list[Shown]:
    """What an image does not hold. Its layers are read from the last one on, until everything was found or contradicted."""
    repository = reference.rpartition(":")[0]
    left: list[Shown] = list(wanted)
    wrong: list[Shown] = []
    for layer in reversed(manifest(reference)["layers"]):
        if not left:
            break
        content = io.BytesIO(crane("blob", f"{repository}@{layer['digest']}"))
        try:
            with tarfile.open(fileobj=content) as archive:
                look(archive, left, wrong)
        except tarfile.ReadError:
            raise Stale(f"{reference} has a layer that cannot be read here: {layer['mediaType']}") from None
    return left + wrong


def look(archive: tarfile.TarFile, left: list[Shown], wrong: list[Shown]) -> None:
    """Takes from `left` what is in a layer, and adds to `wrong` what is there with another content."""
    for entry in archive:
        name = entry.name.removeprefix("./")
        for shown in [shown for shown in left if entry.isfile() and fnmatch.fnmatch(name, shown.pattern)]:
            left.remove(shown)
            if shown.content not in archive.extractfile(entry).read():
                wrong.append(shown)
