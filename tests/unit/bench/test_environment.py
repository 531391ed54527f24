# SPDX-License-Identifier: Apache-2.0
"""What a record says about where it was made."""

from __future__ import annotations

import json

from undercroft._bench.environment import optee_version, package_versions


def test_optee_says_its_version_in_its_log(tmp_path):
    log = tmp_path / "secure.log"
    log.write_text("I/TC: OP-TEE version: Unknown_4.5 (gcc version 14.2.0) #1\n")
    assert optee_version(log) == "4.5"
    log.write_text("nothing yet")
    assert optee_version(log) == "unknown"
    assert optee_version(tmp_path / "absent") == "unknown"


def test_versions_come_from_what_was_unpacked(tmp_path):
    packages = [
        {"package": "optee-os", "version": "4.5.0-2", "sha256": ""},
        {"package": "zlib1g", "version": "1", "sha256": ""},
    ]
    folder = tmp_path / "arm64-0123"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"packages": packages}))
    (tmp_path / "arm64-unfinished").mkdir()
    assert package_versions(tmp_path) == {"package_optee-os": "4.5.0-2"}
