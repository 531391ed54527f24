# SPDX-License-Identifier: Apache-2.0
"""Networks of the literature in their original shapes, with random weights.

`undercroft._models.zoo` runs ``python -m models NAME FILE`` with this folder's
parent on the path; the same seed gives the same weights.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

from models.alexnet import alexnet
from models.densenet import densenet_121
from models.googlenet import googlenet
from models.mobilenet import mobilenet_v1, mobilenet_v2, mobilenet_v3
from models.net import Net
from models.resnet import resnet_18, resnet_50
from models.squeezenet import squeezenet_1_1
from models.vgg import vgg_16

Builder = Callable[[Net], str]

BUILDERS: dict[str, Builder] = {
    "alexnet": alexnet,
    "vgg-16": vgg_16,
    "squeezenet-1.1": squeezenet_1_1,
    "googlenet": googlenet,
    "mobilenet-v1": mobilenet_v1,
    "mobilenet-v2": mobilenet_v2,
    "mobilenet-v3": mobilenet_v3,
    "resnet-18": resnet_18,
    "resnet-50": resnet_50,
    "densenet-121": densenet_121,
}


def build(name: str, path: Path) -> int:
    """Write a network as an ONNX file and return how many parameters it has."""
    net = Net(seed=zlib.crc32(name.encode()))
    net.save(path, BUILDERS[name](net))
    return net.parameters
