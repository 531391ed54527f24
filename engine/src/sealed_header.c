// SPDX-License-Identifier: Apache-2.0
#include "sealed_header.h"

#include "hkdf.h"
#include "uc_cbor_decode.h"
#include "uc_port.h"
#include "writer.h"

#define SHA256_BYTES 32

_Static_assert(UC_SALT_BYTES == UC_HKDF_BYTES,
	       "uc_hkdf_extract() takes a salt of one size");

static bool within_limits(const struct uc_sealed_header *header)
{
	uint64_t pages = (uint64_t)header->program_pages +
			 header->resident_pages + header->streamed_pages;

	return header->suite >= UC_SUITE_AES_256_GCM &&
	       header->suite <= UC_SUITE_CHACHA20_POLY1305 &&
	       header->page_bytes >= UC_MIN_PAGE_BYTES &&
	       header->page_bytes <= UC_MAX_PAGE_BYTES &&
	       header->page_bytes % UC_MIN_PAGE_BYTES == 0 &&
	       header->program_pages >= 1 &&
	       header->program_pages <= UC_MAX_PROGRAM_PAGES &&
	       pages <= UC_MAX_PAGES;
}

bool uc_sealed_header_decode(const uint8_t *data, size_t len,
			     struct uc_sealed_header *header)
{
	struct sealed_header payload = {0};
	const struct uc_bytes *encoded = &header->message.payload;
	size_t taken = 0;

	if (len == 0 || len > UC_MAX_HEADER_BYTES ||
	    !uc_cose_signed_decode(data, len, &header->message))
		return false;
	if (cbor_decode_sealed_header(encoded->data, encoded->len, &payload,
				      &taken) != 0 ||
	    taken != encoded->len)
		return false;
	if (!uc_cose_extensions_in_order(
		    &payload.sealed_header_extension_key
			     ->sealed_header_extension_key_key,
		    sizeof(*payload.sealed_header_extension_key),
		    payload.sealed_header_extension_key_count))
		return false;
	header->model_id = payload.sealed_header_model_id_m.value;
	header->salt = payload.sealed_header_salt_m.value;
	header->model_version = payload.sealed_header_model_version_m;
	header->suite = payload.sealed_header_suite_m;
	header->page_bytes = payload.sealed_header_page_bytes_m;
	header->program_pages = payload.sealed_header_program_pages_m;
	header->resident_pages = payload.sealed_header_resident_pages_m;
	header->streamed_pages = payload.sealed_header_streamed_pages_m;
	header->budget_bytes = payload.sealed_header_budget_bytes_m;
	return within_limits(header);
}

bool uc_sealed_header_page_key(const struct uc_sealed_header *header,
			       const uint8_t *data, size_t len,
			       const uint8_t content_key[UC_CONTENT_KEY_BYTES],
			       uint8_t page_key[32])
{
	uint8_t info[sizeof(UC_PAGE_KEY_INFO) - 1 + SHA256_BYTES] = {0};
	uint8_t digest[SHA256_BYTES] = {0};
	uint8_t prk[UC_HKDF_BYTES] = {0};
	struct uc_writer writer = {0};
	bool ok = false;

	if (!uc_port_sha256(data, len, digest))
		return false;
	uc_writer_init(&writer, info, sizeof(info));
	uc_writer_text(&writer, UC_PAGE_KEY_INFO);
	uc_writer_bytes(&writer, digest, sizeof(digest));
	ok = writer.ok &&
	     uc_hkdf_extract(header->salt, content_key, UC_CONTENT_KEY_BYTES,
			     prk) &&
	     uc_hkdf_expand(prk, info, writer.len, page_key, 32);
	uc_port_wipe(prk, sizeof(prk));
	return ok;
}
