"""The ways to get a project's images into the registry, as the lines that people write; and layerlift.

Each pushes `REPOSITORY/IMAGE:latest` for every image of the project. The cache of the lines by hand is as people keep it:
the two-step recipe has the images themselves, buildx a cache ref for each branch and reads the default branch's as well,
buildah one repository, since its tags are hashes of the steps.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .measuring import Command
from .scenarios import MAIN
from .workloads import Image, Workload

NETWORK_FILE = "network.json"
"""Lies beside the bake file, and is not part of the context."""
SAME_OUTPUT = "type=image,push=true,store=false,unpack=false"
"""The output that layerlift chooses for an image that is only pushed from a containerd store."""


@dataclass(frozen=True)
class Job:
    """One build of a project in a CI job."""

    workload: Workload
    repository: str
    """With the registry's host."""
    base: str
    """The base image's reference."""
    branch: str = MAIN

    def tag(self, image: Image) -> str:
        return f"{self.repository}/{image.name}:latest"

    def build_arguments(self, image: Image) -> list[str]:
        return [f"--build-arg={argument}" for argument in (f"BASE={self.base}", *image.arguments)]

    def flags(self, image: Image) -> list[str]:
        """What every line has."""
        return ["--network=host", f"--file={self.workload.dockerfile}", *self.build_arguments(image)]

    def scope(self) -> str:
        """The branch, as part of a tag."""
        return re.sub("[^a-z0-9]", "-", self.branch)


@dataclass(frozen=True)
class Contender:
    """A way to get images into the registry."""

    name: str
    """For `--contender`."""
    title: str
    engine: str
    commands: Callable[[Job], list[Command]]
    """Run one after another in the project's folder."""
    environment: Callable[[Job], dict[str, str]]
    keeps_state: bool = True
    """Whether a build can leave something for the next one."""

    @property
    def by_hand(self) -> bool:
        return self.name != "layerlift"


def no_cache(job: Job) -> list[Command]:
    """The plain engine."""
    lines = []
    for image in job.workload.images:
        lines += [["docker", "build", *job.flags(image), f"--tag={job.tag(image)}", "."], ["docker", "push", job.tag(image)]]
    return lines


def two_step(job: Job) -> list[Command]:
    """The usual recipe for stages: the first one is built and pushed as an image of its own. It knows no branches."""
    lines = []
    for image in job.workload.images:
        first = f"{job.repository}/{job.workload.first_stage}:latest"
        inline = ["docker", "build", *job.flags(image), "--build-arg=BUILDKIT_INLINE_CACHE=1", f"--cache-from={first}"]
        lines += [
            [*inline, f"--target={job.workload.first_stage}", f"--tag={first}", "."],
            [*inline, f"--cache-from={job.tag(image)}", f"--tag={job.tag(image)}", "."],
            ["docker", "push", first],
            ["docker", "push", job.tag(image)],
        ]
    return lines


def beside_image(job: Job, image: Image) -> str:
    """Where people keep a cache: under another tag of the image. A branch is added to it."""
    return f"{job.repository}/{image.name}:cache-"


def in_cache_repository(job: Job, image: Image) -> str:
    """Where layerlift keeps it: in a repository of its own, so that layers are mounted from one into the other."""
    return f"{job.repository}/cache:{image.name}-"


def buildx(job: Job, builder: list[str], where=beside_image, options: str = "", output: str | None = None) -> list[Command]:
    """buildx with a registry cache: a build, or a bake where the project has several images."""

    def registry_cache(image: Image) -> tuple[list[str], str]:
        """What is read, and what is written."""
        scopes = dict.fromkeys([job.scope(), MAIN])
        read = [f"type=registry,ref={where(job, image)}{scope}" for scope in scopes]
        return read, f"type=registry,ref={where(job, image)}{job.scope()},mode=max{options}"

    if job.workload.bakefile:
        line = ["docker", "buildx", "bake", *builder, *bake_flags(job)]
        for image in job.workload.images:
            read, write = registry_cache(image)
            line += [f"--set={image.name}.cache-from={one}" for one in read] + [f"--set={image.name}.cache-to={write}"]
        return [[*line, f"--set=*.output={output}" if output else "--push"]]
    (image,) = job.workload.images
    read, write = registry_cache(image)
    line = ["docker", "buildx", "build", *builder, *job.flags(image), *(f"--cache-from={one}" for one in read)]
    return [[*line, f"--cache-to={write}", f"--tag={job.tag(image)}", f"--output={output}" if output else "--push", "."]]


def bake_flags(job: Job) -> list[str]:
    return [f"--file={job.workload.bakefile}", f"--file={NETWORK_FILE}", "--allow=network.host"]


def network_file(workload: Workload) -> str:
    """A bake file that gives every image the host's network: the testbed's engines have no other, and `--set` of buildx 0.29
    takes `*.network=host` and leaves it empty."""
    return json.dumps({"target": {image.name: {"network": "host"} for image in workload.images}})


def same_exports(job: Job) -> list[Command]:
    """buildx with the output and the cache export that layerlift chooses, written by hand."""
    fields = ",ignore-error=true,image-manifest=true,oci-mediatypes=true,compression-level=1"
    return buildx(job, [], in_cache_repository, fields, SAME_OUTPUT)


def in_container(builder_image: str) -> Callable[[Job], list[Command]]:
    """buildx with a builder in a container, which every job has to make."""

    def commands(job: Job) -> list[Command]:
        options = [f"--driver-opt=image={builder_image}", "--driver-opt=network=host"]
        create = ["docker", "buildx", "create", "--name=bench", "--driver=docker-container", *options]
        return [create, *buildx(job, ["--builder=bench"])]

    return commands


def buildah(job: Job) -> list[Command]:
    """buildah with the steps of all branches in one repository."""
    cache = f"{job.repository}/cache"
    lines = []
    for image in job.workload.images:
        build = ["buildah", "build", "--layers", f"--cache-from={cache}", f"--cache-to={cache}", *job.flags(image)]
        lines += [[*build, f"--tag={job.tag(image)}", "."], ["buildah", "push", job.tag(image)]]
    return lines


def lifted(layerlift: Path, engine: str) -> Callable[[Job], list[Command]]:
    """layerlift before the line that has no cache."""

    def commands(job: Job) -> list[Command]:
        if job.workload.bakefile and engine != "20":
            return [[str(layerlift), "bake", *bake_flags(job), "--push"]]
        several = len(job.workload.images) > 1
        return [
            [str(layerlift), "build", *([f"--cache-repo={job.repository}/cache/{image.name}"] if several else [])]
            + [*job.flags(image), f"--tag={job.tag(image)}", "--push", "."]
            for image in job.workload.images
        ]

    return commands


def by_hand(job: Job) -> dict[str, str]:
    """What the recipes set, and Docker 20.10 needs; and what a bake file reads."""
    return {"DOCKER_BUILDKIT": "1", "IMAGE": job.repository, "BASE": job.base}


def gitlab_job(job: Job) -> dict[str, str]:
    """What a GitLab job finds in its environment beside that."""
    return by_hand(job) | gitlab_variables(job.repository, job.branch)


def gitlab_variables(repository: str, branch: str = MAIN) -> dict[str, str]:
    """The variables of a GitLab job that say where it runs."""
    variables = {"CI_COMMIT_BRANCH": branch, "CI_DEFAULT_BRANCH": MAIN, "CI_PIPELINE_SOURCE": "push"}
    # The base images are where the registry is.
    mirror = {"LAYERLIFT_REGISTRY_MIRROR": repository.split("/")[0]}
    return {"CI": "true", "GITLAB_CI": "true", "CI_REGISTRY_IMAGE": repository, **variables, **mirror}


def contenders(layerlift: Path, builder_image: str | None) -> list[Contender]:
    """All of them, by engine."""
    without = "no cache"
    recipe = "two-step inline recipe"
    lines = []
    for engine in ("20", "28g"):
        lines += [
            Contender("no-cache", without, engine, no_cache, by_hand, keeps_state=False),
            Contender("two-step", recipe, engine, two_step, by_hand),
            Contender("layerlift", "layerlift", engine, lifted(layerlift, engine), gitlab_job),
        ]
    lines += [
        Contender("no-cache", without, "28c", no_cache, by_hand, keeps_state=False),
        Contender("buildx", "buildx, registry cache", "28c", lambda job: buildx(job, []), by_hand),
        Contender("same-exports", "buildx, same exports", "28c", same_exports, by_hand),
    ]
    if builder_image:
        container = in_container(builder_image)
        lines.append(Contender("buildx-container", "buildx, builder in a container", "28c", container, by_hand))
    return lines + [
        Contender("layerlift", "layerlift", "28c", lifted(layerlift, "28c"), gitlab_job),
        Contender("buildah", "buildah, registry cache", "buildah", buildah, by_hand),
    ]


NAMES = ("no-cache", "two-step", "buildx", "same-exports", "buildx-container", "buildah", "layerlift")
