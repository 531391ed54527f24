/* SPDX-License-Identifier: Apache-2.0 */
/*
 * COSE (RFC 9052) as spec/undercroft.cddl narrows it down: COSE_Sign1 by a
 * provider, COSE_Encrypt0 with HPKE to this device. Every pointer that a
 * decoded structure holds points into the bytes that were decoded.
 */
#ifndef UC_COSE_H
#define UC_COSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "uc_spec.h"

#define UC_PUBLIC_KEY_BYTES 32 /* Ed25519 and X25519 */
#define UC_SIGNATURE_BYTES 64
#define UC_COSE_KEY_BYTES 40 /* a COSE_Key of one of the two */

struct uc_bytes {
	const uint8_t *data;
	size_t len;
};

struct uc_cose_signed {
	struct uc_bytes bucket; /* the protected bucket, encoded */
	struct uc_bytes payload;
	const uint8_t *key_id;	   /* as claimed, UC_KEY_ID_BYTES */
	const uint8_t *public_key; /* as claimed, UC_PUBLIC_KEY_BYTES */
	const uint8_t *signature;
};

enum uc_cose_curve {
	UC_COSE_X25519 = 4,
	UC_COSE_ED25519 = 6,
};

/* In time that depends on len alone. */
bool uc_bytes_equal(const uint8_t *a, const uint8_t *b, size_t len);

/* The public key as deterministic CBOR. Its SHA-256 is the COSE Key
 * Thumbprint (RFC 9679), since it holds the required members only. */
void uc_cose_key_write(enum uc_cose_curve curve,
		       const uint8_t public_key[UC_PUBLIC_KEY_BYTES],
		       uint8_t out[UC_COSE_KEY_BYTES]);
bool uc_cose_key_id(enum uc_cose_curve curve,
		    const uint8_t public_key[UC_PUBLIC_KEY_BYTES],
		    uint8_t key_id[UC_KEY_ID_BYTES]);

/* Form only; nothing in *out is authentic yet. */
bool uc_cose_signed_decode(const uint8_t *data, size_t len,
			   struct uc_cose_signed *out);
/* The key id belongs to the key, and the signature is by that key. */
bool uc_cose_signed_verify(const struct uc_cose_signed *message);

/* Whether the keys of extensions, as decoded, stand in the order of their
 * encodings, each once: keys of this range are all negative and of one length,
 * so they fall. The rest of their form the decoders check.
 * first: the first key; the next one is stride_bytes behind it. */
bool uc_cose_extensions_in_order(const int32_t *first, size_t stride_bytes,
				 size_t count);

struct uc_cose_wrapped {
	struct uc_bytes bucket;
	const uint8_t *encapsulated_key; /* UC_PUBLIC_KEY_BYTES */
	struct uc_bytes ciphertext;	 /* with its tag */
};

bool uc_cose_wrapped_decode(const uint8_t *data, size_t len,
			    struct uc_cose_wrapped *out);
/* public_key: this device's. *key is zero on failure. */
bool uc_cose_wrapped_open(const struct uc_cose_wrapped *wrapped,
			  const uint8_t public_key[UC_PUBLIC_KEY_BYTES],
			  uint8_t key[UC_CONTENT_KEY_BYTES]);

#endif /* UC_COSE_H */
