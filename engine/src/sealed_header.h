/* SPDX-License-Identifier: Apache-2.0 */
/* The header of a sealed model: form and limits (spec/sealed-model.md). */
#ifndef UC_SEALED_HEADER_H
#define UC_SEALED_HEADER_H

#include "cose.h"
#include "uc_license.h"

struct uc_sealed_header {
	struct uc_cose_signed message;
	const uint8_t *model_id; /* UC_MODEL_ID_BYTES */
	const uint8_t *salt;	 /* UC_SALT_BYTES */
	uint32_t model_version;
	uint32_t suite;
	uint32_t page_bytes;
	uint32_t program_pages;
	uint32_t resident_pages;
	uint32_t streamed_pages;
	uint32_t budget_bytes;
};

/* Nothing in *header is authentic yet. */
bool uc_sealed_header_decode(const uint8_t *data, size_t len,
			     struct uc_sealed_header *header);

/* page_key = HKDF-SHA256(content_key, salt, info || SHA-256(data), 32) */
bool uc_sealed_header_page_key(const struct uc_sealed_header *header,
			       const uint8_t *data, size_t len,
			       const uint8_t content_key[UC_CONTENT_KEY_BYTES],
			       uint8_t page_key[32]);

#endif /* UC_SEALED_HEADER_H */
