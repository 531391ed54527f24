# SPDX-License-Identifier: Apache-2.0
"""Debian packages of any architecture, fetched without touching the system.

A private apt root in the cache folder (own source list, own package lists, an
empty package status) lets apt resolve, fetch and verify packages of Debian's
``trixie`` on any Debian or Ubuntu host, without root. Signatures are checked
by apt against Debian's archive keyring.

``packages_dir`` is what most callers want::

    from undercroft._debian import packages_dir
    include = packages_dir("arm64", ["libssl-dev"]) / "usr/include"

The second call with the same arguments only looks at a file.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from undercroft._cache import (
    cache_key,
    cache_root,
    cached_folder,
    file_sha256,
    locked,
)
from undercroft._host import require_tools, run_tool
from undercroft.errors import EnvironmentMissingError, HarnessError

SUITE = "trixie"
MIRROR_VARIABLE = "UNDERCROFT_DEBIAN_MIRROR"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

# Raise it when the way packages are unpacked changes: it is part of every key.
_LAYOUT_VERSION = 1

_PACKAGE_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_PRINTED_URI = re.compile(r"^'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>\d+)")
# Settings of the machine's apt that decide whether the network is reachable.
_NETWORK_SETTINGS = re.compile(
    r"^Acquire::(https?|ftp|tor|Retries|ForceIPv[46]|socks5h?)\b.*\".+\";$", re.I
)


@dataclass(frozen=True, slots=True)
class Deb:
    """One binary package file that was fetched."""

    package: str
    version: str
    path: Path
    sha256: str

    def record(self) -> dict[str, str]:
        """Return the manifest entry: package, version and SHA-256."""
        return {"package": self.package, "version": self.version, "sha256": self.sha256}


def host_architecture() -> str:
    """Return Debian's name of this machine's architecture."""
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def debian_mirror() -> str:
    """Return the address of the Debian mirror to fetch from.

    It is ``UNDERCROFT_DEBIAN_MIRROR`` when set, else the mirror in the
    machine's own apt configuration.

    Raises:
        EnvironmentMissingError: This machine's apt knows no Debian mirror.
    """
    override = os.environ.get(MIRROR_VARIABLE, "").strip()
    if override:
        return override
    listing = run_tool(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(ORIGIN)|$(RELEASE)|$(COMPONENT)|$(REPO_URI)",
            "Created-By: Packages",
        ],
        purpose="reading the apt configuration",
    )
    mirror = pick_mirror(listing.splitlines(), host_is_debian=_host_is_debian())
    if mirror is None:
        raise EnvironmentMissingError(
            "this machine's apt is not set up for Debian, and the emulated board "
            "is assembled from Debian's packages",
            hint=f"set {MIRROR_VARIABLE} to the address of a Debian mirror near you "
            "(Debian lists them under 'Debian worldwide mirror sites')",
        )
    return mirror


def pick_mirror(targets: Iterable[str], *, host_is_debian: bool) -> str | None:
    """Choose a Debian mirror among apt's index targets.

    Args:
        targets: Lines ``origin|release|component|address``; the origin is
            empty or left unexpanded when apt has fetched no list yet.
        host_is_debian: Whether targets of unknown origin are Debian's.

    Returns:
        The address, or None when no target is Debian's main archive.
    """
    for line in targets:
        origin, release, component, address = (*line.split("|", 3), "", "", "")[:4]
        unknown = origin in ("", "$(ORIGIN)")
        if component != "main" or address.startswith("cdrom:"):
            continue
        # Updates, security and backports live in other suites or archives.
        if not address or "-" in release or "/" in release:
            continue
        if origin == "Debian" or (unknown and host_is_debian):
            return address
    return None


def _host_is_debian() -> bool:
    try:
        return platform.freedesktop_os_release().get("ID") == "debian"
    except OSError:
        return False


class AptRoot:
    """A private apt for one architecture, kept in the cache folder.

    Args:
        arch: Debian's architecture name, ``arm64`` or ``amd64``.
        cache: The cache folder; the user's own by default.
    """

    def __init__(self, arch: str, *, cache: Path | None = None) -> None:
        if arch not in ("arm64", "amd64"):
            raise HarnessError(f"no Debian architecture '{arch}' here: arm64 or amd64")
        self.arch = arch
        self.folder = (cache or cache_root()) / "apt" / f"{SUITE}-{arch}"
        self._config = self.folder / "apt.conf"

    def update(self) -> None:
        """Fetch the package lists anew.

        Raises:
            EnvironmentMissingError: No mirror or no keyring is known.
            HarnessError: The lists could not be fetched or verified.
        """
        with self._lock():
            self._update()

    def fetch(
        self, packages: Sequence[str], *, with_dependencies: bool = False
    ) -> list[Deb]:
        """Fetch binary packages, verified, into the cache.

        Args:
            packages: Package names.
            with_dependencies: Fetch what they depend on as well.

        Raises:
            EnvironmentMissingError: No mirror or no keyring is known.
            HarnessError: A package does not exist or could not be fetched.
        """
        _check_names(packages)
        with self._lock():
            if not self._has_lists():
                self._update()
            try:
                return self._fetch(packages, with_dependencies)
            except HarnessError:
                # The archive replaces packages in place: an old list names
                # files that are gone. A new list settles whether that was it.
                self._update()
                return self._fetch(packages, with_dependencies)

    def source(self, package: str, destination: Path) -> str:
        """Fetch a source package, verified, and unpack it.

        Args:
            package: Source package name.
            destination: Folder to unpack into; must not exist.

        Returns:
            The version.

        Raises:
            EnvironmentMissingError: A host tool, mirror or keyring is missing.
            HarnessError: It does not exist or could not be fetched.
        """
        _check_names([package])
        require_tools(
            ["apt-get", "dpkg-source", "patch", "xz"],
            purpose="unpack a Debian source package",
        )
        with self._lock():
            if not self._has_lists():
                self._update()
            try:
                description = self._fetch_source(package)
            except HarnessError:
                self._update()
                description = self._fetch_source(package)
            run_tool(
                # apt has already checked the signed hash of every file.
                ["dpkg-source", "--no-check", "-x", description, destination],
                purpose=f"unpacking the source of {package}",
            )
        version = description.name.removesuffix(".dsc").split("_", 1)[1]
        return unquote(version)

    def _lock(self) -> AbstractContextManager[None]:
        return locked(self.folder / "lock")

    def _has_lists(self) -> bool:
        stamp = self.folder / "updated"
        return self._config.is_file() and stamp.is_file()

    def _update(self) -> None:
        if not KEYRING.is_file():
            raise EnvironmentMissingError(
                f"Debian's archive keys are not installed ({KEYRING})",
                hint="sudo apt-get install debian-archive-keyring",
            )
        self._write_configuration(debian_mirror())
        (self.folder / "updated").unlink(missing_ok=True)
        self._apt("update", purpose="fetching Debian's package lists")
        (self.folder / "updated").touch()

    def _write_configuration(self, mirror: str) -> None:
        for name in ("lists/partial", "cache/archives/partial", "debs", "sources"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").touch()
        signed = f"[signed-by={KEYRING}]"
        (self.folder / "sources.list").write_text(
            f"deb {signed} {mirror} {SUITE} main\n"
            f"deb-src {signed} {mirror} {SUITE} main\n"
        )
        settings = {
            "APT::Architecture": self.arch,
            "APT::Install-Recommends": "0",
            # Running as root, apt would fetch as a user who cannot write here.
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Dir::State": str(self.folder),
            "Dir::State::status": str(self.folder / "status"),
            "Dir::State::lists": str(self.folder / "lists"),
            "Dir::Cache": str(self.folder / "cache"),
            "Dir::Etc::sourcelist": str(self.folder / "sources.list"),
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::parts": "/dev/null",
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::trusted": "/dev/null",
            "Dir::Etc::trustedparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
        }
        lines = [*_network_settings(), "#clear APT::Architectures;"]
        lines += [f'{name} "{value}";' for name, value in settings.items()]
        lines += [f'APT::Architectures {{"{self.arch}";}};']
        self._config.write_text("\n".join(lines) + "\n")

    def _apt(self, *words: str, purpose: str, cwd: Path | None = None) -> str:
        return run_tool(
            ["apt-get", "-q", *words],
            purpose=purpose,
            cwd=cwd,
            env={"APT_CONFIG": str(self._config), "DEBIAN_FRONTEND": "noninteractive"},
        )

    def _fetch(self, packages: Sequence[str], with_dependencies: bool) -> list[Deb]:
        named = ", ".join(packages)
        verb = ["install", "--yes"] if with_dependencies else ["download"]
        printed = self._apt(
            *verb,
            "--print-uris",
            *packages,
            purpose=f"finding {named} for {self.arch}",
        )
        files = [match["file"] for match in _matches(printed)]
        debs = self.folder / "debs"
        absent = [file for file in files if not (debs / file).is_file()]
        if absent:
            wanted = ["=".join(_split_file_name(file)) for file in absent]
            self._apt(
                "download",
                *wanted,
                purpose=f"fetching {named} for {self.arch}",
                cwd=debs,
            )
        fetched = []
        for file in files:
            path = debs / file
            if not path.is_file():
                raise HarnessError(f"apt did not leave the file {path}")
            name, version = _split_file_name(file)
            fetched.append(Deb(name, version, path, file_sha256(path)))
        return fetched

    def _fetch_source(self, package: str) -> Path:
        folder = self.folder / "sources"
        # --only-source: a binary package may bear another source's name.
        words = ("source", "--only-source", "--download-only", package)
        printed = self._apt(
            *words,
            "--print-uris",
            purpose=f"finding the source of {package}",
        )
        self._apt(*words, purpose=f"fetching the source of {package}", cwd=folder)
        for match in _matches(printed):
            if match["file"].endswith(".dsc"):
                return folder / match["file"]
        raise HarnessError(f"the source package {package} has no .dsc file")


def unpack(debs: Iterable[Deb], destination: Path) -> None:
    """Unpack packages' files, in order, into one folder.

    Maintainer scripts do not run.

    Raises:
        HarnessError: A package is damaged.
    """
    destination.mkdir(parents=True, exist_ok=True)
    for deb in debs:
        run_tool(
            ["dpkg-deb", "--extract", deb.path, destination],
            purpose=f"unpacking {deb.package}",
        )


def packages_dir(
    arch: str,
    names: Sequence[str],
    *,
    with_dependencies: bool = False,
    refresh: bool = False,
) -> Path:
    """Return a cached folder that holds packages' files, unpacked.

    The first call fetches; later calls with the same arguments only look at a
    file and need no network. Next to the folder lies ``manifest.json`` with
    each package's version and SHA-256.

    Args:
        arch: ``arm64`` or ``amd64``.
        names: Package names.
        with_dependencies: Unpack what they depend on as well.
        refresh: Fetch and unpack again, with new package lists.

    Raises:
        EnvironmentMissingError: A host tool, mirror or keyring is missing.
        HarnessError: A package does not exist or could not be fetched.
    """
    _check_names(names)
    key = cache_key(_LAYOUT_VERSION, SUITE, arch, sorted(names), with_dependencies)
    folder = cache_root() / "packages" / f"{arch}-{key}"

    def build(scratch: Path) -> dict[str, Any]:
        root = AptRoot(arch)
        if refresh:
            root.update()
        debs = root.fetch(names, with_dependencies=with_dependencies)
        unpack(debs, scratch / "root")
        return {
            "suite": SUITE,
            "architecture": arch,
            "names": sorted(names),
            "packages": [deb.record() for deb in debs],
        }

    return cached_folder(folder, build, refresh=refresh) / "root"


def remove_fetched_files() -> None:
    """Delete the package files and lists kept from earlier fetches."""
    shutil.rmtree(cache_root() / "apt", ignore_errors=True)


def _network_settings() -> list[str]:
    dump = run_tool(["apt-config", "dump"], purpose="reading the apt configuration")
    return [line for line in dump.splitlines() if _NETWORK_SETTINGS.match(line)]


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if not _PACKAGE_NAME.fullmatch(name):
            raise HarnessError(f"'{name}' is not the name of a Debian package")


def _matches(printed: str) -> Iterator[re.Match[str]]:
    for line in printed.splitlines():
        match = _PRINTED_URI.match(line)
        if match:
            yield match


def _split_file_name(file: str) -> tuple[str, str]:
    """Split ``name_version_arch.deb`` into name and version."""
    name, version, _ = file.split("_", 2)
    return name, unquote(version)
