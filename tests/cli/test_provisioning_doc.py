# SPDX-License-Identifier: Apache-2.0
"""`docs/provisioning.md`, run: every step in its order, with what comes of it."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from helpers.command import Done, undercroft
from helpers.onnx_nets import case
from undercroft._spec import STATUS_TEXT, Status

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "provisioning.md"
DEVICES = {
    "tee:": "device",
    "http://device:8080": "device",
    "http://lost:8080": "lost",
}
"""The devices of the document; here each is `host:` with a folder of its own."""
SECTIONS = ("In the factory", "In the field", "Rotation", "Incidents")


@dataclass(frozen=True)
class Step:
    """A command of the document, and the status that the device refuses it with."""

    section: str
    line: int
    words: tuple[str, ...]
    refused: str | None


def steps() -> list[Step]:
    found = []
    section, fence, pending = "", "", ""
    for number, line in enumerate(DOCUMENT.read_text().splitlines(), 1):
        text = line.strip()
        if text.startswith("```"):
            fence = "" if fence else text.removeprefix("```") or "text"
        elif line.startswith("## "):
            section = line.removeprefix("## ")
        elif fence == "sh":
            pending += text.removesuffix("\\")
            if not text.endswith("\\"):
                command, _, note = pending.partition("  # refused: ")
                words = tuple(shlex.split(command))
                found.append(Step(section, number, words, note or None))
                pending = ""
    return found


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """What somebody brings who begins: a model and a picture."""
    monkeypatch.chdir(tmp_path)
    model = case("lenet").model
    onnx.save(model, "model.onnx")
    (value,) = model.graph.input
    shape = [item.dim_value for item in value.type.tensor_type.shape.dim]
    np.save("photo.npy", np.zeros(shape, np.float32))
    return tmp_path


def run(step: Step, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Done:
    assert step.words[0] == "undercroft"
    words = list(step.words[1:])
    for place, word in enumerate(words):
        if word in DEVICES:
            monkeypatch.setenv("UNDERCROFT_DATA", str(folder / DEVICES[word]))
            words[place] = "host:"
    if words[0] == "enroll" or words[:2] == ["factory", "endorse"]:
        words.append("--allow-development")
    return undercroft(*words)


@pytest.mark.engine
def test_the_steps_do_what_the_document_says(folder, monkeypatch):
    for step in steps():
        done = run(step, folder, monkeypatch)
        where = f"line {step.line}: {shlex.join(step.words)}\n{done.err}"
        if step.refused is None:
            assert done.code == 0, where
        else:
            assert done.code == 1, where
            # Sentences may go on with a detail of the device's.
            said = re.sub(r"\s+", " ", done.err)
            assert STATUS_TEXT[Status[step.refused]][:30] in said, where


def test_the_document_has_steps_for_each_case():
    by_section = {name: [s for s in steps() if s.section == name] for name in SECTIONS}
    assert len(steps()) >= 35
    assert min(map(len, by_section.values())) >= 3
    assert {step.section for step in steps()} == set(SECTIONS)
    incidents = re.findall(
        r"^\*\*A (leaked content key|lost device|leaked provider key)\.\*\*",
        DOCUMENT.read_text(),
        re.MULTILINE,
    )
    assert len(set(incidents)) == 3
    # Each incident ends with something that no longer works.
    refused = [s.refused for s in by_section["Incidents"] if s.refused]
    assert refused == ["REVOKED", "REVOKED", "UNTRUSTED_PROVIDER"]
