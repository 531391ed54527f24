# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from undercroft import _debian
from undercroft._debian import AptRoot, Deb, debian_mirror, packages_dir, pick_mirror
from undercroft.errors import EnvironmentMissingError, HarnessError

# Deliberately no real host: the address is the machine's business.
MIRROR = "http://mirror.example/debian/"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNDERCROFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("UNDERCROFT_DEBIAN_MIRROR", raising=False)
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("targets", "is_debian", "expected"),
    [
        pytest.param(
            [
                "Debian|bookworm-security|main|http://mirror.example/security/",
                "Debian|bookworm-updates|main|http://mirror.example/u/",
                f"Debian|bookworm|main|{MIRROR}",
            ],
            True,
            MIRROR,
            id="debian",
        ),
        pytest.param(
            [f"$(ORIGIN)|trixie|main|{MIRROR}"], True, MIRROR, id="no lists yet"
        ),
        pytest.param(
            ["|noble|main|http://mirror.example/ubuntu/"],
            False,
            None,
            id="another system without lists",
        ),
        pytest.param(
            ["Ubuntu|noble|main|http://mirror.example/ubuntu/"],
            False,
            None,
            id="ubuntu",
        ),
        pytest.param(
            [
                "Ubuntu|noble|main|http://mirror.example/ubuntu/",
                f"Debian|trixie|main|{MIRROR}",
            ],
            False,
            MIRROR,
            id="ubuntu with a debian source",
        ),
        pytest.param(
            [f"Debian|trixie|contrib|{MIRROR}"], True, None, id="no main component"
        ),
        pytest.param(["Debian|trixie|main|cdrom:[x]/"], True, None, id="cdrom"),
        pytest.param([], True, None, id="nothing"),
        pytest.param(["", "garbage"], True, None, id="garbage"),
    ],
)
def test_mirror_is_picked_from_apts_targets(
    targets: list[str], is_debian: bool, expected: str | None
) -> None:
    assert pick_mirror(targets, host_is_debian=is_debian) == expected


def test_variable_overrides_the_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERCROFT_DEBIAN_MIRROR", MIRROR)
    monkeypatch.setattr(_debian, "run_tool", None)
    assert debian_mirror() == MIRROR


def test_host_without_a_debian_mirror_is_told_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_debian, "run_tool", lambda *_words, **_options: "")
    with pytest.raises(EnvironmentMissingError) as caught:
        debian_mirror()
    assert "UNDERCROFT_DEBIAN_MIRROR" in caught.value.hint


def test_missing_archive_keys_name_their_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_debian, "KEYRING", tmp_path / "none.gpg")
    with pytest.raises(EnvironmentMissingError) as caught:
        AptRoot("arm64").update()
    assert "debian-archive-keyring" in caught.value.hint


def test_architecture_that_is_not_debians_is_refused() -> None:
    with pytest.raises(HarnessError, match="arm64 or amd64"):
        AptRoot("x86_64")


@pytest.mark.parametrize("name", ["", "-o", "UPPER", "a b", "a=1", "../x"])
def test_name_that_is_no_package_never_reaches_apt(name: str) -> None:
    with pytest.raises(HarnessError, match="not the name"):
        packages_dir("arm64", [name])


def test_file_name_gives_name_and_version() -> None:
    split = _debian._split_file_name("zlib1g_1%3a1.3.dfsg+really1.3.1-1+b1_arm64.deb")
    assert split == ("zlib1g", "1:1.3.dfsg+really1.3.1-1+b1")


class FakeApt:
    """Counts fetches and makes one package."""

    def __init__(self, tmp_path: Path) -> None:
        self.fetches = 0
        self._deb = Deb("tool", "1.0", tmp_path / "tool_1.0_arm64.deb", "00" * 32)

    def __call__(self, _arch: str) -> FakeApt:
        return self

    def update(self) -> None:
        pass

    def fetch(self, _names: Sequence[str], *, with_dependencies: bool) -> list[Deb]:
        self.fetches += 1
        return [self._deb]


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeApt:
    fake = FakeApt(tmp_path)
    monkeypatch.setattr(_debian, "AptRoot", fake)

    def unpack(_debs: object, destination: Path) -> None:
        destination.mkdir()
        (destination / "file").write_text("x")

    monkeypatch.setattr(_debian, "unpack", unpack)
    return fake


def test_second_call_needs_nothing(apt: FakeApt) -> None:
    first = packages_dir("arm64", ["tool"])
    assert (first / "file").read_text() == "x"
    assert packages_dir("arm64", ["tool"]) == first
    assert apt.fetches == 1


def test_order_of_names_does_not_matter_and_all_else_does(apt: FakeApt) -> None:
    base = packages_dir("arm64", ["a-tool", "b-tool"])
    assert packages_dir("arm64", ["b-tool", "a-tool"]) == base
    assert packages_dir("amd64", ["a-tool", "b-tool"]) != base
    assert packages_dir("arm64", ["a-tool"]) != base
    assert packages_dir("arm64", ["a-tool", "b-tool"], with_dependencies=True) != base


def test_manifest_records_versions_and_hashes(apt: FakeApt) -> None:
    folder = packages_dir("arm64", ["tool"])
    manifest = json.loads((folder.parent / "manifest.json").read_text())
    assert manifest["packages"] == [
        {"package": "tool", "version": "1.0", "sha256": "00" * 32}
    ]


def test_refresh_fetches_again(apt: FakeApt) -> None:
    packages_dir("arm64", ["tool"])
    packages_dir("arm64", ["tool"], refresh=True)
    assert apt.fetches == 2
