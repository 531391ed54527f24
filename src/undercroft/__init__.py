# SPDX-License-Identifier: Apache-2.0
"""Undercroft: run a proprietary neural network in the secure world.

The whole story, from an ONNX file to an answer out of the secure world::

    import undercroft as uc

    key = uc.keys.ProviderKey.generate()
    plan = uc.plan("model.onnx", budget="12MiB")
    uc.seal("model.onnx", "model.sealed", plan=plan, signing_key=key)

    with uc.enroll("board:") as device: ...
"""
