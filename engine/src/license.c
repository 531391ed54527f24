// SPDX-License-Identifier: Apache-2.0
#include "uc_license.h"

#include <string.h>

#include "cose.h"
#include "sealed_header.h"
#include "uc_cbor_decode.h"
#include "uc_port.h"

struct license {
	struct uc_cose_signed message;
	const uint8_t *model_id;
	const uint8_t *device_id;
	struct uc_cose_wrapped content_key;
};

static bool license_decode(const uint8_t *data, size_t len,
			   struct license *license)
{
	struct license_claims claims = {0};
	const struct uc_bytes *encoded = &license->message.payload;
	size_t taken = 0;

	if (len == 0 || len > UC_MAX_LICENSE_BYTES ||
	    !uc_cose_signed_decode(data, len, &license->message))
		return false;
	if (cbor_decode_license_claims(encoded->data, encoded->len, &claims,
				       &taken) != 0 ||
	    taken != encoded->len)
		return false;
	license->model_id = claims.license_claims_model_id_m.value;
	license->device_id = claims.license_claims_device_id_m.value;
	return uc_cose_wrapped_decode(
		claims.license_claims_wrapped_key_bstr.value,
		claims.license_claims_wrapped_key_bstr.len,
		&license->content_key);
}

/* Trust, then both signatures, then that the two belong together. */
static enum uc_status check_provider(const struct license *license,
				     const struct uc_sealed_header *header)
{
	const uint8_t *public_key = license->message.public_key;
	uint8_t key_id[UC_KEY_ID_BYTES] = {0};

	if (!uc_cose_key_id(UC_COSE_ED25519, public_key, key_id))
		return UC_ST_INTERNAL;
	if (!uc_port_provider_trusted(key_id, public_key))
		return UC_ST_UNTRUSTED_PROVIDER;
	if (!uc_cose_signed_verify(&license->message))
		return UC_ST_NOT_AUTHENTIC;
	if (!uc_bytes_equal(public_key, header->message.public_key,
			    UC_PUBLIC_KEY_BYTES) ||
	    !uc_cose_signed_verify(&header->message))
		return UC_ST_NOT_AUTHENTIC;
	if (!uc_bytes_equal(license->model_id, header->model_id,
			    UC_MODEL_ID_BYTES))
		return UC_ST_WRONG_MODEL;
	return UC_ST_OK;
}

static enum uc_status
open_content_key(const struct license *license,
		 uint8_t content_key[UC_CONTENT_KEY_BYTES])
{
	uint8_t public_key[UC_PUBLIC_KEY_BYTES] = {0};
	uint8_t device_id[UC_KEY_ID_BYTES] = {0};

	if (!uc_port_device_public_key(public_key))
		return UC_ST_STORAGE;
	if (!uc_cose_key_id(UC_COSE_X25519, public_key, device_id))
		return UC_ST_INTERNAL;
	if (!uc_bytes_equal(license->device_id, device_id, sizeof(device_id)))
		return UC_ST_WRONG_DEVICE;
	if (!uc_cose_wrapped_open(&license->content_key, public_key,
				  content_key))
		return UC_ST_NOT_AUTHENTIC;
	return UC_ST_OK;
}

enum uc_status uc_model_open(const uint8_t *header, size_t header_len,
			     const uint8_t *license, size_t license_len,
			     struct uc_opened_model *opened)
{
	struct uc_sealed_header sealed = {0};
	struct license permit = {0};
	uint8_t content_key[UC_CONTENT_KEY_BYTES] = {0};
	enum uc_status status = UC_ST_OK;
	bool derived = false;

	memset(opened, 0, sizeof(*opened));
	if (!uc_sealed_header_decode(header, header_len, &sealed))
		return UC_ST_BAD_HEADER;
	if (!license_decode(license, license_len, &permit))
		return UC_ST_BAD_LICENSE;
	status = check_provider(&permit, &sealed);
	if (status != UC_ST_OK)
		return status;
	status = open_content_key(&permit, content_key);
	if (status == UC_ST_OK)
		derived = uc_sealed_header_page_key(&sealed, header, header_len,
						    content_key,
						    opened->page_key);
	uc_port_wipe(content_key, sizeof(content_key));
	if (status == UC_ST_OK && !derived)
		status = UC_ST_INTERNAL;
	if (status != UC_ST_OK) {
		uc_port_wipe(opened, sizeof(*opened));
		return status;
	}
	memcpy(opened->model_id, sealed.model_id, sizeof(opened->model_id));
	opened->model_version = sealed.model_version;
	opened->suite = sealed.suite;
	opened->page_bytes = sealed.page_bytes;
	opened->program_pages = sealed.program_pages;
	opened->resident_pages = sealed.resident_pages;
	opened->streamed_pages = sealed.streamed_pages;
	opened->budget_bytes = sealed.budget_bytes;
	return UC_ST_OK;
}

enum uc_status uc_device_cose_key(uint8_t *out, size_t *len)
{
	uint8_t public_key[UC_PUBLIC_KEY_BYTES] = {0};
	size_t room = *len;

	*len = UC_COSE_KEY_BYTES;
	if (room < UC_COSE_KEY_BYTES)
		return UC_ST_SHORT_BUFFER;
	if (!uc_port_device_public_key(public_key))
		return UC_ST_STORAGE;
	uc_cose_key_write(UC_COSE_X25519, public_key, out);
	return UC_ST_OK;
}
