// SPDX-License-Identifier: Apache-2.0
#include "cose.h"

#include <string.h>

#include "hpke.h"
#include "uc_cbor_decode.h"
#include "uc_port.h"
#include "writer.h"

_Static_assert(UC_MAX_LICENSE_BYTES <= UC_MAX_HEADER_BYTES,
	       "the buffer of the Sig_structure is sized by the header");
_Static_assert(
	sizeof(((struct license_claims *)0)->license_claims_extension_key) /
			sizeof(struct license_claims_extension_key) ==
		UC_MAX_EXTENSIONS,
	"the CDDL repeats this limit");
_Static_assert(UC_MAX_HEADER_BYTES <= UINT16_MAX,
	       "uc_writer_bstr() writes lengths of at most two bytes");

bool uc_bytes_equal(const uint8_t *a, const uint8_t *b, size_t len)
{
	volatile uint8_t difference = 0;

	for (size_t i = 0; i < len; i++)
		difference = (uint8_t)(difference | (a[i] ^ b[i]));
	return difference == 0;
}

void uc_cose_key_write(enum uc_cose_curve curve,
		       const uint8_t public_key[UC_PUBLIC_KEY_BYTES],
		       uint8_t out[UC_COSE_KEY_BYTES])
{
	/* {1 (kty): 1 (OKP), -1 (crv): curve, -2 (x): bstr of 32} */
	const uint8_t start[] = {
		0xA3,		0x01, 0x01, 0x20,
		(uint8_t)curve, 0x21, 0x58, UC_PUBLIC_KEY_BYTES};

	_Static_assert(sizeof(start) + UC_PUBLIC_KEY_BYTES == UC_COSE_KEY_BYTES,
		       "a COSE_Key has one size");
	memcpy(out, start, sizeof(start));
	memcpy(out + sizeof(start), public_key, UC_PUBLIC_KEY_BYTES);
}

bool uc_cose_key_id(enum uc_cose_curve curve,
		    const uint8_t public_key[UC_PUBLIC_KEY_BYTES],
		    uint8_t key_id[UC_KEY_ID_BYTES])
{
	uint8_t key[UC_COSE_KEY_BYTES] = {0};

	uc_cose_key_write(curve, public_key, key);
	return uc_port_sha256(key, sizeof(key), key_id);
}

bool uc_cose_signed_decode(const uint8_t *data, size_t len,
			   struct uc_cose_signed *out)
{
	struct cose_sign1 message = {0};
	struct provider_bucket bucket = {0};
	const struct confirmation *confirmation =
		&bucket.provider_bucket_key_claims_m.key_claims_confirmation_m;
	size_t taken = 0;

	if (cbor_decode_cose_sign1(data, len, &message, &taken) != 0 ||
	    taken != len)
		return false;
	out->bucket.data = message.cose_sign1_protected.value;
	out->bucket.len = message.cose_sign1_protected.len;
	out->payload.data = message.cose_sign1_payload.value;
	out->payload.len = message.cose_sign1_payload.len;
	out->signature = message.cose_sign1_signature.value;
	if (cbor_decode_provider_bucket(out->bucket.data, out->bucket.len,
					&bucket, &taken) != 0 ||
	    taken != out->bucket.len)
		return false;
	out->key_id = bucket.provider_bucket_key_id_m.value;
	out->public_key = confirmation->confirmation_ed25519_key_m
				  .ed25519_key_x_coordinate_m.value;
	return true;
}

bool uc_cose_signed_verify(const struct uc_cose_signed *message)
{
	/* The Sig_structure is shorter than the message it is about: it has
	 * 12 bytes of context where that has 66 of signature. */
	uint8_t to_be_signed[UC_MAX_HEADER_BYTES] = {0};
	uint8_t key_id[UC_KEY_ID_BYTES] = {0};
	struct uc_writer writer = {0};

	if (!uc_cose_key_id(UC_COSE_ED25519, message->public_key, key_id) ||
	    !uc_bytes_equal(key_id, message->key_id, sizeof(key_id)))
		return false;
	/* ["Signature1", protected, external_aad (empty), payload] */
	uc_writer_init(&writer, to_be_signed, sizeof(to_be_signed));
	uc_writer_byte(&writer, 0x84);
	uc_writer_byte(&writer, 0x6A);
	uc_writer_text(&writer, "Signature1");
	uc_writer_bstr(&writer, message->bucket.data, message->bucket.len);
	uc_writer_bstr(&writer, NULL, 0);
	uc_writer_bstr(&writer, message->payload.data, message->payload.len);
	return writer.ok &&
	       uc_port_ed25519_verify(message->public_key, to_be_signed,
				      writer.len, message->signature);
}

bool uc_cose_extensions_in_order(const int32_t *first, size_t stride_bytes,
				 size_t count)
{
	const uint8_t *at = (const uint8_t *)first;
	int32_t previous = INT32_MAX;

	for (size_t i = 0; i < count; i++, at += stride_bytes) {
		int32_t key = 0;

		memcpy(&key, at, sizeof(key));
		if (key >= previous)
			return false;
		previous = key;
	}
	return true;
}

bool uc_cose_wrapped_decode(const uint8_t *data, size_t len,
			    struct uc_cose_wrapped *out)
{
	struct wrapped_key wrapped = {0};
	size_t taken = 0;

	if (cbor_decode_wrapped_key(data, len, &wrapped, &taken) != 0 ||
	    taken != len)
		return false;
	out->bucket.data = wrapped.wrapped_key_protected.value;
	out->bucket.len = wrapped.wrapped_key_protected.len;
	out->encapsulated_key =
		wrapped.wrapped_key_unprotected.encapsulated_key_ek_m.value;
	out->ciphertext.data = wrapped.wrapped_key_ciphertext.value;
	out->ciphertext.len = wrapped.wrapped_key_ciphertext.len;
	/* The bucket holds the algorithm alone, which has one value. */
	return cbor_decode_hpke_bucket(out->bucket.data, out->bucket.len, NULL,
				       &taken) == 0 &&
	       taken == out->bucket.len;
}

bool uc_cose_wrapped_open(const struct uc_cose_wrapped *wrapped,
			  const uint8_t public_key[UC_PUBLIC_KEY_BYTES],
			  uint8_t key[UC_CONTENT_KEY_BYTES])
{
	uint8_t aad[32] = {0};
	struct uc_writer writer = {0};

	memset(key, 0, UC_CONTENT_KEY_BYTES);
	/* Enc_structure: ["Encrypt0", protected, external_aad (empty)] */
	uc_writer_init(&writer, aad, sizeof(aad));
	uc_writer_byte(&writer, 0x83);
	uc_writer_byte(&writer, 0x68);
	uc_writer_text(&writer, "Encrypt0");
	uc_writer_bstr(&writer, wrapped->bucket.data, wrapped->bucket.len);
	uc_writer_bstr(&writer, NULL, 0);
	return writer.ok &&
	       wrapped->ciphertext.len ==
		       UC_CONTENT_KEY_BYTES + UC_HPKE_TAG_BYTES &&
	       uc_hpke_open(wrapped->encapsulated_key, public_key, NULL, 0, aad,
			    writer.len, wrapped->ciphertext.data,
			    wrapped->ciphertext.len, key);
}
