/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a sealed header and a license, both already copied to secure memory, to the key of the pages; and a provider's
 * updates. The order of checks is that of spec/license.md.
 */
#ifndef UC_LICENSE_H
#define UC_LICENSE_H

#include <stddef.h>
#include <stdint.h>

#include "uc_terms.h"

struct uc_opened_model {
	uint8_t model_id[UC_MODEL_ID_BYTES];
	uint32_t model_version;
	uint32_t suite;
	uint32_t page_bytes;
	uint32_t program_pages;
	uint32_t resident_pages;
	uint32_t streamed_pages;
	uint32_t budget_bytes;
	uint8_t page_key[32];
	struct uc_terms terms;
};

/* The caller wipes *opened. On failure it is all zero. The state was loaded by
 * the caller, or could not be. *detail is the status' detail. */
enum uc_status uc_model_open(const uint8_t *header, size_t header_len,
			     const uint8_t *license, size_t license_len,
			     struct uc_state *state,
			     struct uc_opened_model *opened, uint32_t *detail);

/* A provider's update, copied to secure memory; state as above. */
enum uc_status uc_update_take(const uint8_t *data, size_t len,
			      struct uc_state *state, uint32_t *detail);

/* Evidence for a nonce of MIN_NONCE_BYTES to MAX_NONCE_BYTES, which is secure
 * memory; *len is the room and then the length. */
enum uc_status uc_attest(const uint8_t *nonce, size_t nonce_len,
			 uint32_t secure_memory, uint8_t *out, size_t *len);

/* The thumbprint of the device's X25519 key. */
bool uc_device_id(uint8_t device_id[UC_KEY_ID_BYTES]);

/* The device's public COSE_Key (deterministic CBOR, RFC 9052 section 7);
 * *len is the room and then the length. */
enum uc_status uc_device_cose_key(uint8_t *out, size_t *len);

#endif /* UC_LICENSE_H */
