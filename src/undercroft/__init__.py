# SPDX-License-Identifier: Apache-2.0
"""Undercroft: run a proprietary neural network in the secure world.

The whole story, from an ONNX file to an answer out of the secure world::

    import undercroft as uc

    # The model provider, on any machine.
    key = uc.ProviderKey.generate()
    plan = uc.plan("model.onnx", budget="12MiB")
    print(plan)
    sealed = uc.seal("model.onnx", "model.sealed", plan=plan, signing_key=key)

    # Each device is enrolled once and gets a license for each model.
    device = uc.enroll("board:", policy=uc.attestation.DEVELOPMENT_POLICY)
    license = uc.issue_license(
        model_key=sealed.model_key, device=device.public_key, signing_key=key
    )

    # The app on the device, with the sealed file that everybody has.
    with uc.InferenceSession("model.sealed", license=license) as session:
        scores = session.run(None, {"image": image})[0]

`verify` proves that the answers are onnxruntime's. Everything that goes wrong is
an `undercroft.errors.Error` that says what happened and what to do next.

Names are imported when they are first used, so that a device needs only what it
uses: its side runs with numpy and cbor2 alone.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from undercroft.enroll import DeviceCertificate, enroll
    from undercroft.errors import Error
    from undercroft.keys import ModelKey, ProviderKey, ProviderPublicKey
    from undercroft.license import License, LicenseTerms
    from undercroft.license import issue as issue_license
    from undercroft.plan import Plan, plan
    from undercroft.reseal import reseal
    from undercroft.seal import SealResult, seal
    from undercroft.sealed import SealedModel
    from undercroft.session import DeviceInfo, InferenceSession, Stats
    from undercroft.tensor import TensorInfo
    from undercroft.update import Update, issue_update
    from undercroft.verify import Verification, verify

__version__: Final = "0.1.0"

__all__ = [
    "DeviceCertificate",
    "DeviceInfo",
    "Error",
    "InferenceSession",
    "License",
    "LicenseTerms",
    "ModelKey",
    "Plan",
    "ProviderKey",
    "ProviderPublicKey",
    "SealResult",
    "SealedModel",
    "Stats",
    "TensorInfo",
    "Update",
    "Verification",
    "__version__",
    "enroll",
    "issue_license",
    "issue_update",
    "plan",
    "reseal",
    "seal",
    "verify",
]

_HOMES: Final = {
    "DeviceCertificate": ("enroll", "DeviceCertificate"),
    "DeviceInfo": ("session", "DeviceInfo"),
    "Error": ("errors", "Error"),
    "InferenceSession": ("session", "InferenceSession"),
    "License": ("license", "License"),
    "LicenseTerms": ("license", "LicenseTerms"),
    "ModelKey": ("keys", "ModelKey"),
    "Plan": ("plan", "Plan"),
    "ProviderKey": ("keys", "ProviderKey"),
    "ProviderPublicKey": ("keys", "ProviderPublicKey"),
    "SealResult": ("seal", "SealResult"),
    "SealedModel": ("sealed", "SealedModel"),
    "Stats": ("session", "Stats"),
    "TensorInfo": ("tensor", "TensorInfo"),
    "Update": ("update", "Update"),
    "Verification": ("verify", "Verification"),
    "enroll": ("enroll", "enroll"),
    "issue_license": ("license", "issue"),
    "issue_update": ("update", "issue_update"),
    "plan": ("plan", "plan"),
    "reseal": ("reseal", "reseal"),
    "seal": ("seal", "seal"),
    "verify": ("verify", "verify"),
}
"""Public name: its module, and its name there."""

_SUBMODULES: Final = frozenset(
    {
        "attestation",
        "errors",
        "factory",
        "keys",
        "license",
        "private",
        "sealed",
        "session",
        "update",
    }
)


class _Package(ModuleType):
    """Keeps `undercroft.plan` the function when `undercroft.plan` is imported.

    The import system sets a submodule as an attribute of its package, which for
    a module that is named like the function in it would hide the function.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, ModuleType) and _HOMES.get(name) == (name, name):
            value = getattr(value, name)
        super().__setattr__(name, value)


def __getattr__(name: str) -> Any:  # noqa: ANN401 a name of any kind
    if name in _HOMES:
        module_name, inner = _HOMES[name]
        module = importlib.import_module(f"undercroft.{module_name}")
        value = getattr(module, inner)
        globals()[name] = value
        return value
    if name in _SUBMODULES:
        return importlib.import_module(f"undercroft.{name}")
    raise AttributeError(f"module 'undercroft' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})


sys.modules[__name__].__class__ = _Package
