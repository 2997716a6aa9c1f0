"""What is built: a project of examples/, its images, the edits that scenarios make, and what shows them in an image.

Every project takes its base image by the build argument BASE, so that a contender's base can be moved.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SERVICES = ("accounts", "billing", "catalog", "gateway", "orders", "search")


@dataclass(frozen=True)
class Shown:
    """What an image must hold: a file whose path matches the pattern, with these bytes in it."""

    pattern: str
    content: bytes


@dataclass(frozen=True)
class Image:
    """One image of a project."""

    name: str
    arguments: tuple[str, ...]
    """Build arguments beside BASE."""
    source: Callable[[Path], Shown]
    """What shows the source as it is in the project's folder now."""


@dataclass(frozen=True)
class Workload:
    """A project."""

    title: str
    folder: str
    dockerfile: str
    base: str
    """The base image's name in the testbed's registry."""
    first_stage: str
    """The stage that the two-step recipe builds and pushes before the whole."""
    images: tuple[Image, ...]
    bakefile: str | None
    """Builds all images at once where the engine has buildx."""
    change_source: Callable[[Path, int], None]
    """Edits one source file; the number makes it another edit each time."""
    change_dependencies: Callable[[Path], None]
    dependencies: Shown
    """What shows the changed dependencies, in every image."""


def file_at(pattern: str, source: str) -> Callable[[Path], Shown]:
    """A file of the project is in the image as it is."""
    return lambda sample: Shown(pattern, (sample / source).read_bytes())


def append(file: str) -> Callable[[Path, int], None]:
    """Adds a line of Python to a file."""

    def change(sample: Path, number: int) -> None:
        with (sample / file).open("a") as opened:
            opened.write(f'\nREVISION = "{number}"\n')

    return change


def replace(file: str, before: str, after: str) -> Callable[[Path], None]:
    """Replaces a text that must be there."""

    def change(sample: Path) -> None:
        text = (sample / file).read_text()
        if before not in text:
            raise SystemExit(f"error: {file} has no `{before}` to change")
        (sample / file).write_text(text.replace(before, after))

    return change


def new_version(sample: Path, number: int) -> None:
    """Another version in the compiled program's source."""
    file = sample / "src/main.cc"
    file.write_text(re.sub(r"(log-counts version )\d+", rf"\g<1>{number}", file.read_text()))


def version(sample: Path) -> Shown:
    """The compiled program holds its version as text."""
    return Shown(
        "opt/log-counts/log-counts", re.search(r"log-counts version \d+", (sample / "src/main.cc").read_text())[0].encode()
    )


def new_edition(sample: Path, number: int) -> None:
    """Another last line on a page of the site."""
    with (sample / "pages/about.txt").open("a") as opened:
        opened.write(f"Edition {number}\n")


def last_line(sample: Path) -> Shown:
    """The last line of the page."""
    return Shown("www/about.html", (sample / "pages/about.txt").read_bytes().splitlines()[-1])


GUNICORN = replace("requirements.txt", "gunicorn==23.0.0", "gunicorn==22.0.0")
NEW_GUNICORN = Shown("*/gunicorn-22.0.0.dist-info/METADATA", b"Version: 22.0.0")

WORKLOADS = {
    "app": Workload(
        title="Interpreted app with a large dependency layer",
        folder="examples/app",
        dockerfile="Dockerfile.multi",
        base="python:3.12-slim",
        first_stage="base",
        images=(Image("app", (), file_at("srv/app/routes.py", "app/routes.py")),),
        bakefile=None,
        change_source=append("app/routes.py"),
        change_dependencies=GUNICORN,
        dependencies=NEW_GUNICORN,
    ),
    "compiled": Workload(
        title="Compiled app in three stages",
        folder="examples/compiled",
        dockerfile="Dockerfile",
        base="debian:bookworm",
        first_stage="toolchain",
        images=(Image("compiled", (), version),),
        bakefile=None,
        change_source=new_version,
        change_dependencies=replace("packages.txt", "make\n", "make\nzlib1g-dev\n"),
        dependencies=Shown("opt/log-counts/built-with.txt", b"zlib1g-dev"),
    ),
    "monorepo": Workload(
        title="Six services by a bake file",
        folder="examples/monorepo",
        dockerfile="Dockerfile",
        base="python:3.12-slim",
        first_stage="dependencies",
        images=tuple(
            Image(name, (f"SERVICE={name}",), file_at("srv/service/main.py", f"services/{name}/main.py")) for name in SERVICES
        ),
        bakefile="docker-bake.hcl",
        change_source=append("services/billing/main.py"),
        change_dependencies=GUNICORN,
        dependencies=NEW_GUNICORN,
    ),
    # Small: for trying the benchmark itself. It sleeps where a real one would install its tools.
    "hello": Workload(
        title="Static site in three stages",
        folder="examples/hello",
        dockerfile="Dockerfile",
        base="busybox:latest",
        first_stage="tools",
        images=(Image("hello", (), last_line),),
        bakefile=None,
        change_source=new_edition,
        change_dependencies=replace("page.awk", "<!doctype html>", "<!doctype html><!-- tools 2 -->"),
        dependencies=Shown("www/about.html", b"<!-- tools 2 -->"),
    ),
}
COMPARED = ("app", "compiled", "monorepo")
"""What is built unless workloads are chosen."""
