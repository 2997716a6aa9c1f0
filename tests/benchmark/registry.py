"""A registry of the benchmark's own, with nothing in it, and the base images in two states.

The testbed's registry is shared and grows; this one is there for one round, so that no contender finds what another one
left, and a long run does not fill the disk.
"""

import io
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
import urllib.request
from pathlib import Path

from . import interrupts, testbed
from .testbed import crane

MOVED = "etc/base-moved"
"""A file that only the second state of a base image has."""


class Registry:
    """The reference implementation on a free port of loopback, for one `with` block."""

    def __init__(self):
        self.folder = Path()
        self.port = 0
        self.process: subprocess.Popen | None = None

    def __enter__(self):
        with interrupts.held():
            self.folder = Path(tempfile.mkdtemp(prefix="layerlift-bench-registry-"))
            self.port = free_port()
            settings = self.folder / "registry.yml"
            settings.write_text(
                "version: 0.1\nlog: {level: error}\n"
                f'http: {{addr: "127.0.0.1:{self.port}"}}\n'
                f"storage: {{filesystem: {{rootdirectory: {self.folder}/data}}, delete: {{enabled: true}}}}\n"
            )
            program = testbed.folder() / "engines/tools/usr/bin/docker-registry"
            # It ends with this process, however that ends, and not with a Ctrl-C before the engines have.
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", program, "serve", settings],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        try:
            self.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        with interrupts.held():
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def address(self) -> str:
        return f"localhost:{self.port}"

    def wait(self) -> None:
        for _ in range(100):
            try:
                with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://{self.address}/v2/", timeout=5):
                    return
            except OSError:
                time.sleep(0.1)
        raise SystemExit("error: the registry did not start: run tests/testbed/setup --with-python")

    def add_base(self, image: str) -> None:
        """Copies a base image of the testbed, and makes its second state, which has one layer more."""
        try:
            copy = 'registry_up && crane copy --insecure "$REGISTRY/library/$1" "$2" 2> /dev/null'
            testbed.testbed(copy, image, self.base(image, "now"))
        except subprocess.CalledProcessError:
            raise SystemExit(f"error: the testbed has no image {image}: run tests/testbed/setup --with-python") from None
        layer = self.folder / "moved.tar"
        with tarfile.open(layer, "w") as archive:
            entry = tarfile.TarInfo(MOVED)
            content = b"a later state of the base image\n"
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
        crane("append", f"--base={self.base(image, 'now')}", f"--new_layer={layer}", f"--new_tag={self.base(image, 'moved')}")

    def base(self, image: str, state: str) -> str:
        """Where a state of a base image is: `now`, under the name by which Docker's own images are mirrored, or `moved`."""
        return f"{self.address}/{'library' if state == 'now' else state}/{image}"

    def put_base(self, image: str, state: str, repository: str) -> str:
        """Puts the tag that a contender builds from on a state of the base image. Returns its name without the host."""
        name = f"{repository}/base:1"
        crane("copy", self.base(image, state), f"{self.address}/{name}")
        return name


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
