# SPDX-License-Identifier: Apache-2.0
"""Write the C header that says whose models a Trusted Application opens.

    python policy.py --output uc_policy.h
    python policy.py --output uc_policy.h --release --test-keys DIR A.pem B.pem

A release build is refused when it names no provider, when a key is not an
Ed25519 key, or when one of them is a test key of this project.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

# The deterministic encoding of {kty: OKP, crv: Ed25519, x: (32 bytes)} up to x:
# what RFC 9679 hashes for the thumbprint of a key.
_COSE_KEY_PREFIX = bytes.fromhex("a301012006215820")


class PolicyError(Exception):
    """The keys given do not make a policy."""


def read_public_key(path: Path) -> bytes:
    """Return the raw Ed25519 public key in a PEM file (public or private)."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise PolicyError(f"{path}: {error.strerror}") from error
    try:
        if b"PRIVATE KEY" in text:
            private = serialization.load_pem_private_key(text, password=None)
            if not isinstance(private, Ed25519PrivateKey):
                raise PolicyError(f"{path}: not an Ed25519 key")
            public = private.public_key()
        else:
            loaded = serialization.load_pem_public_key(text)
            if not isinstance(loaded, Ed25519PublicKey):
                raise PolicyError(f"{path}: not an Ed25519 key")
            public = loaded
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise PolicyError(f"{path}: not a PEM key: {error}") from error
    return public.public_bytes_raw()


def key_id(public_key: bytes) -> bytes:
    """Return the COSE Key Thumbprint (RFC 9679, SHA-256) of a raw public key."""
    return hashlib.sha256(_COSE_KEY_PREFIX + public_key).digest()


def read_test_key_ids(folder: Path) -> list[bytes]:
    """Return the ids of the project's test keys; there is at least one.

    Each file holds a seed of 32 bytes in hexadecimal. All are taken for seeds of
    Ed25519 keys, also those that the tests use otherwise.
    """
    ids = set()
    for path in sorted(folder.glob("*.hex")):
        try:
            seed = bytes.fromhex(path.read_text())
            private = Ed25519PrivateKey.from_private_bytes(seed)
        except (OSError, ValueError) as error:
            raise PolicyError(f"{path}: not a test key: {error}") from error
        ids.add(key_id(private.public_key().public_bytes_raw()))
    if not ids:
        raise PolicyError(
            f"{folder}: no test keys there, so a release build could not refuse "
            "them; build in a whole checkout"
        )
    return sorted(ids)


def _c_bytes(value: bytes) -> str:
    return "{ " + ", ".join(f"0x{byte:02x}" for byte in value) + " }"


def policy_header(providers: Sequence[bytes], test_ids: Sequence[bytes]) -> str:
    """Return the header's text.

    Args:
        providers: Raw public keys to trust; empty for a development build.
        test_ids: Ids to refuse.
    """
    lines = [
        "/* SPDX-License-Identifier: Apache-2.0 */",
        "/* Written by ta/tools/policy.py. Do not edit. */",
        "#ifndef UC_POLICY_H",
        "#define UC_POLICY_H",
        "",
        "#include <stdint.h>",
        "",
        f"#define UC_PROVIDER_COUNT {len(providers)}U",
        f"#define UC_TEST_KEY_COUNT {len(test_ids)}U",
    ]
    if providers:
        lines += [
            "",
            "static const struct {",
            "\tuint8_t key_id[32];",
            "\tuint8_t public_key[32];",
            "} uc_providers[] = {",
            *(
                f"\t{{ {_c_bytes(key_id(key))},\n\t  {_c_bytes(key)} }},"
                for key in providers
            ),
            "};",
        ]
    if test_ids:
        lines += [
            "",
            "static const uint8_t uc_test_key_ids[][32] = {",
            *(f"\t{_c_bytes(test_id)}," for test_id in test_ids),
            "};",
        ]
    return "\n".join([*lines, "", "#endif /* UC_POLICY_H */", ""])


def release_policy(keys: Sequence[Path], test_keys: Path) -> str:
    """Return the header of a release build, or raise PolicyError."""
    if not keys:
        raise PolicyError(
            "a release build trusts named providers only and none is named; "
            'give UC_PROVIDER_KEYS="provider.pem ..."'
        )
    test_ids = read_test_key_ids(test_keys)
    providers = [read_public_key(path) for path in keys]
    for path, provider in zip(keys, providers, strict=True):
        if key_id(provider) in test_ids:
            raise PolicyError(
                f"{path}: this is a test key whose private half everybody has; "
                "name the provider's own key"
            )
    return policy_header(providers, test_ids)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 1 when the policy is refused."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--release", action="store_true")
    parser.add_argument("--test-keys", type=Path)
    parser.add_argument("keys", nargs="*", type=Path, metavar="KEY.pem")
    options = parser.parse_args(argv)
    try:
        if options.release:
            if options.test_keys is None:
                parser.error("--release needs --test-keys")
            text = release_policy(options.keys, options.test_keys)
        elif options.keys:
            raise PolicyError(
                "a development build trusts every provider; for a list of trusted "
                "keys build with UC_BUILD=release"
            )
        else:
            text = policy_header([], [])
    except PolicyError as error:
        print(f"policy: {error}", file=sys.stderr)
        return 1
    if not options.output.exists() or options.output.read_text() != text:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
