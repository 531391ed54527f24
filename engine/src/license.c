// SPDX-License-Identifier: Apache-2.0
#include "uc_license.h"

#include <string.h>

#include "cose.h"
#include "sealed_header.h"
#include "uc_cbor_decode.h"
#include "uc_port.h"

#define LICENSE_ID_BYTES 16U

struct license {
	struct uc_cose_signed message;
	const uint8_t *model_id;
	const uint8_t *device_id;
	const uint8_t *license_id;
	struct uc_cose_wrapped content_key;
};

/* What a claim that is not there means is zero. */
static bool read_conditions(const struct license_claims *claims,
			    struct uc_terms *terms)
{
	uint64_t end = claims->license_claims_license_end_m
			       .license_claims_license_end_m;

	if (claims->license_claims_grace_m_present &&
	    !claims->license_claims_license_end_m_present)
		return false;
	end += claims->license_claims_grace_m.license_claims_grace_m;
	/* An end of 0 is one: long ago. An end after 2106 is never reached. */
	if (claims->license_claims_license_end_m_present && end == 0)
		end = 1;
	terms->ends_at = end <= UINT32_MAX ? (uint32_t)end : UINT32_MAX;
	terms->begins_at = claims->license_claims_license_begin_m
				   .license_claims_license_begin_m;
	terms->issued_at =
		claims->license_claims_issued_at_m.license_claims_issued_at_m;
	terms->max_inferences = claims->license_claims_max_inferences_m
					.license_claims_max_inferences_m;
	terms->rate_count = claims->license_claims_rate_m.license_claims_rate_m
				    .rate_count_m;
	terms->rate_seconds = claims->license_claims_rate_m
				      .license_claims_rate_m.rate_seconds_m;
	terms->version_floor = claims->license_claims_version_floor_m
				       .license_claims_version_floor_m;
	terms->features =
		claims->license_claims_features_m.license_claims_features_m;
	terms->update_floor = claims->license_claims_update_floor_m
				      .license_claims_update_floor_m;
	terms->without_time = claims->license_claims_without_time_m_present;
	/* The one value that it may have. */
	return !terms->without_time ||
	       claims->license_claims_without_time_m
			       .license_claims_without_time_m == 1;
}

static bool license_decode(const uint8_t *data, size_t len,
			   struct license *license, struct uc_terms *terms)
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
	if (!uc_cose_extensions_in_order(
		    &claims.license_claims_extension_key
			     ->license_claims_extension_key_key,
		    sizeof(*claims.license_claims_extension_key),
		    claims.license_claims_extension_key_count) ||
	    !read_conditions(&claims, terms))
		return false;
	license->license_id = claims.license_claims_license_id_m.value;
	license->model_id = claims.license_claims_model_id_m.value;
	license->device_id = claims.license_claims_device_id_m.value;
	return uc_cose_wrapped_decode(
		claims.license_claims_wrapped_key_bstr.value,
		claims.license_claims_wrapped_key_bstr.len,
		&license->content_key);
}

/* Trust, then both signatures, then that the two belong together. */
static enum uc_status check_provider(const struct license *license,
				     const struct uc_sealed_header *header,
				     struct uc_state *state)
{
	const uint8_t *public_key = license->message.public_key;
	uint8_t key_id[UC_KEY_ID_BYTES] = {0};

	if (!uc_cose_key_id(UC_COSE_ED25519, public_key, key_id))
		return UC_ST_INTERNAL;
	if (!uc_state_trusts(state, key_id, public_key))
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
open_content_key(const struct license *license, const struct uc_state *state,
		 uint8_t content_key[UC_CONTENT_KEY_BYTES])
{
	uint8_t public_key[UC_PUBLIC_KEY_BYTES] = {0};
	uint8_t device_id[UC_KEY_ID_BYTES] = {0};

	if (!state->loaded || !uc_port_device_public_key(public_key))
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

/* The names of what the device keeps about this license. */
static bool name_entries(const struct license *license,
			 const struct uc_sealed_header *header,
			 struct uc_state *state, struct uc_terms *terms)
{
	static const uint8_t no_line[32];
	const uint8_t *key_id = license->message.key_id;

	memcpy(terms->line, uc_state_line(state, key_id), sizeof(terms->line));
	terms->model_version = header->model_version;
	return uc_state_name(UC_STATE_PROVIDER, no_line, key_id,
			     UC_KEY_ID_BYTES, terms->provider) &&
	       uc_state_name(UC_STATE_MODEL, terms->line, license->model_id,
			     UC_MODEL_ID_BYTES, terms->model) &&
	       uc_state_name(UC_STATE_LICENSE, terms->line, license->license_id,
			     LICENSE_ID_BYTES, terms->license);
}

/* All checks; what was opened is wiped by the caller when one fails. */
static enum uc_status open_model(const uint8_t *header, size_t header_len,
				 const uint8_t *license, size_t license_len,
				 struct uc_state *state,
				 struct uc_sealed_header *sealed,
				 struct uc_opened_model *opened,
				 uint32_t *detail)
{
	struct license permit = {0};
	uint8_t content_key[UC_CONTENT_KEY_BYTES] = {0};
	enum uc_status status = UC_ST_OK;
	bool derived = false;

	if (!uc_sealed_header_decode(header, header_len, sealed))
		return UC_ST_BAD_HEADER;
	if (!license_decode(license, license_len, &permit, &opened->terms))
		return UC_ST_BAD_LICENSE;
	status = check_provider(&permit, sealed, state);
	if (status != UC_ST_OK)
		return status;
	status = open_content_key(&permit, state, content_key);
	if (status == UC_ST_OK)
		derived = uc_sealed_header_page_key(sealed, header, header_len,
						    content_key,
						    opened->page_key);
	uc_port_wipe(content_key, sizeof(content_key));
	if (status != UC_ST_OK)
		return status;
	if (!derived || !name_entries(&permit, sealed, state, &opened->terms))
		return UC_ST_INTERNAL;
	return uc_terms_admit(&opened->terms, state, detail);
}

enum uc_status uc_model_open(const uint8_t *header, size_t header_len,
			     const uint8_t *license, size_t license_len,
			     struct uc_state *state,
			     struct uc_opened_model *opened, uint32_t *detail)
{
	struct uc_sealed_header sealed = {0};
	enum uc_status status = UC_ST_OK;

	memset(opened, 0, sizeof(*opened));
	*detail = 0;
	status = open_model(header, header_len, license, license_len, state,
			    &sealed, opened, detail);
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

/* What the device says of itself is what its storage holds now. */
bool uc_device_id(uint8_t device_id[UC_KEY_ID_BYTES])
{
	uint8_t public_key[UC_PUBLIC_KEY_BYTES] = {0};

	(void)uc_port_device_forget();
	return uc_port_device_public_key(public_key) &&
	       uc_cose_key_id(UC_COSE_X25519, public_key, device_id);
}

enum uc_status uc_device_cose_key(uint8_t *out, size_t *len)
{
	uint8_t public_key[UC_PUBLIC_KEY_BYTES] = {0};
	size_t room = *len;

	*len = UC_COSE_KEY_BYTES;
	if (room < UC_COSE_KEY_BYTES)
		return UC_ST_SHORT_BUFFER;
	(void)uc_port_device_forget();
	if (!uc_port_device_public_key(public_key))
		return UC_ST_STORAGE;
	uc_cose_key_write(UC_COSE_X25519, public_key, out);
	return UC_ST_OK;
}
