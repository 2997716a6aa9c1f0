"""The functions of tests/testbed/lib.sh, which alone knows how engines are started, and crane from the testbed."""

import os
import subprocess
import sys
from pathlib import Path

from . import interrupts

ROOT = Path(__file__).resolve().parent.parent.parent
LIBRARY = ROOT / "tests/testbed/lib.sh"


def clean_environment() -> dict[str, str]:
    """This process's environment without what a CI job or a setting of layerlift would change in a build."""
    prefixes = ("BUILDAH_", "BUILDKIT_", "BUILDX_", "CI", "DOCKER_", "GITHUB_", "GITLAB_", "LAYERLIFT_", "SOURCE_DATE_EPOCH")
    kept = ("LAYERLIFT_TESTBED",)
    return {name: value for name, value in os.environ.items() if name.startswith(kept) or not name.startswith(prefixes)}


def testbed(script: str, *arguments: str, **variables: str) -> bytes:
    """What a script prints that has the testbed's functions; engines that it starts belong to this process.

    It runs to its end also when Ctrl-C is pressed meanwhile.
    """
    command = ["bash", "-uc", f'. "{LIBRARY}" && {script}', "bench", *arguments]
    environment = clean_environment() | {"ENGINE_OWNER": str(os.getpid())} | variables
    with interrupts.held():
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True, check=True
        )
    return done.stdout


def crane(*arguments: str) -> bytes:
    """What crane prints, with a registry that speaks plain HTTP."""
    return testbed('crane "$@" 2> /dev/null', *arguments, "--insecure")


def folder() -> Path:
    """Where the testbed keeps its engines and images."""
    return Path(testbed('echo "$TESTBED"').decode().strip())


def say(text: str) -> None:
    """Tells how far it is, beside the result on standard output."""
    print(text, file=sys.stderr, flush=True)
