"""What builds: Docker engines of the testbed, and buildah's store, each without any state and for one `with` block."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import interrupts, testbed

ENGINES = {
    "20": "Docker 20.10",
    "28g": "Docker 28, graph driver store",
    "28c": "Docker 28, containerd store",
    "buildah": "no engine",
}
SHORT = {"20": "20.10", "28g": "28, graph driver", "28c": "28, containerd", "buildah": "no engine"}
"""The same, where there is little room."""


class Docker:
    """A Docker engine of the testbed, with a registry that speaks plain HTTP and has Docker's own images."""

    def __init__(self, kind: str, registry: str):
        self.kind, self.name, self.registry = kind, f"bench-{os.getpid()}", registry
        self.environment: dict[str, str] = {}
        self.folder = Path()

    def __enter__(self):
        self.folder = testbed.folder() / "run" / self.name
        try:
            found = testbed.testbed(
                f"engine_up {self.kind} {self.name} >&2 && env -0",
                ENGINE_INSECURE=self.registry, ENGINE_MIRROR=f"http://{self.registry}",
            )  # fmt: skip
        except BaseException as error:
            self.__exit__()
            if isinstance(error, subprocess.CalledProcessError):
                raise SystemExit(f"error: no {ENGINES[self.kind]}: run tests/testbed/setup --with-python") from None
            raise
        self.environment = dict(pair.split("=", 1) for pair in found.decode().split("\0") if pair)
        os.sync()
        return self

    def __exit__(self, *_):
        testbed.testbed(f"engine_down {self.name}")

    def output(self, *command: str) -> bytes:
        """What a command prints that asks this engine."""
        return subprocess.run(command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout

    def versions(self) -> dict[str, str]:
        """Of the engine, and of its buildx, if it has one."""
        found = {"docker": self.output("docker", "version", "--format={{.Server.Version}}").decode().strip()}
        with contextlib.suppress(subprocess.CalledProcessError):
            found["buildx"] = self.output("docker", "buildx", "version").decode().split()[1]
        return found

    def processes(self) -> str | None:
        """A text in the command line of the engine, of its containerd and of the latter's shims."""
        return f"{self.folder}/exec"


class Buildah:
    """A store of buildah's, which builds without an engine. It has the privileges that dockerd has: overlay, not vfs."""

    def __init__(self, registry: str):
        self.registry = registry
        self.environment: dict[str, str] = {}
        self.folder = Path()

    def __enter__(self):
        if not shutil.which("buildah"):
            raise SystemExit("error: no buildah: run tests/testbed/setup")
        self.folder = Path(tempfile.mkdtemp(prefix="layerlift-bench-buildah-"))
        files = {
            "storage.conf": f'[storage]\ndriver = "overlay"\ngraphroot = "{self.folder}/graph"\nrunroot = "{self.folder}/run"\n',
            "registries.conf": f'[[registry]]\nlocation = "{self.registry}"\ninsecure = true\n',
            "config.json": "{}",
        }
        for name, text in files.items():
            (self.folder / name).write_text(text)
        self.environment = testbed.clean_environment() | {
            "BUILDAH_ISOLATION": "chroot",
            "CONTAINERS_STORAGE_CONF": f"{self.folder}/storage.conf",
            "CONTAINERS_REGISTRIES_CONF": f"{self.folder}/registries.conf",
            "DOCKER_CONFIG": str(self.folder),
        }
        os.sync()
        return self

    def __exit__(self, *_):
        with interrupts.held():
            mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
            for place in sorted((place for place in mounted if place.startswith(f"{self.folder}/")), reverse=True):
                subprocess.run(["umount", "-l", place], check=False)
            shutil.rmtree(self.folder, ignore_errors=True)

    def versions(self) -> dict[str, str]:
        return {
            "buildah": subprocess.run(["buildah", "--version"], stdout=subprocess.PIPE, check=True).stdout.decode().split()[2]
        }

    def processes(self) -> str | None:
        """All of it is the client."""
        return None


def empty(kind: str, registry: str) -> Docker | Buildah:
    """An engine of a kind."""
    return Buildah(registry) if kind == "buildah" else Docker(kind, registry)
