/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evidence (spec/license.md): an EAT that the device's attestation key signs.
 */
#include <string.h>

#include "cose.h"
#include "uc_license.h"
#include "uc_port.h"
#include "writer.h"

/* Claims in the order of their encoded keys (spec/undercroft.cddl). */
#define CLAIM_CNF 8
#define CLAIM_NONCE 10
#define CLAIM_UEID 256
#define CLAIM_DBGSTAT 263
#define CLAIM_PROFILE 265
#define CLAIM_SWNAME 270
#define CLAIM_SWVERSION 271
#define CLAIM_LIFECYCLE 2395
#define CLAIM_BUILD_ID (-70020)
#define CLAIM_HARDWARE_KEY (-70021)
#define CLAIM_SECURE_MEMORY (-70022)
#define CLAIM_MEASUREMENT (-70023)

#define UEID_RAND 0x01
#define DEBUG_ENABLED 0
#define DEBUG_DISABLED 1
#define LIFECYCLE_UNKNOWN 0x0000
#define LIFECYCLE_TEST 0x1000
#define LIFECYCLE_SECURED 0x3000

#define LEAST_MEASUREMENT_BYTES 33 /* more than a digest alone */
#define MEASUREMENT_BYTES 544	   /* a digest and an RSA-4096 signature */

enum cbor_type {
	CBOR_UINT = 0,
	CBOR_NINT = 1,
	CBOR_TEXT = 3,
	CBOR_ARRAY = 4,
	CBOR_MAP = 5,
};

static void put_head(struct uc_writer *writer, enum cbor_type type,
		     uint32_t argument)
{
	uint8_t major = (uint8_t)((uint32_t)type << 5);

	if (argument < 24) {
		uc_writer_byte(writer, (uint8_t)(major | argument));
		return;
	}
	if (argument <= UINT8_MAX) {
		uc_writer_byte(writer, major | 24);
	} else if (argument <= UINT16_MAX) {
		uc_writer_byte(writer, major | 25);
		uc_writer_byte(writer, (uint8_t)(argument >> 8));
	} else {
		uc_writer_byte(writer, major | 26);
		uc_writer_byte(writer, (uint8_t)(argument >> 24));
		uc_writer_byte(writer, (uint8_t)(argument >> 16));
		uc_writer_byte(writer, (uint8_t)(argument >> 8));
	}
	uc_writer_byte(writer, (uint8_t)argument);
}

static void put_key(struct uc_writer *writer, int32_t key)
{
	if (key < 0)
		put_head(writer, CBOR_NINT, (uint32_t)(-1 - key));
	else
		put_head(writer, CBOR_UINT, (uint32_t)key);
}

static void put_number(struct uc_writer *writer, int32_t key, uint32_t number)
{
	put_key(writer, key);
	put_head(writer, CBOR_UINT, number);
}

static void put_bytes(struct uc_writer *writer, int32_t key,
		      const uint8_t *data, size_t len)
{
	put_key(writer, key);
	uc_writer_bstr(writer, data, len);
}

static void put_text(struct uc_writer *writer, const char *text)
{
	put_head(writer, CBOR_TEXT, (uint32_t)strlen(text));
	uc_writer_text(writer, text);
}

/* {1: COSE_Key}, the value of cnf */
static void put_confirmation(struct uc_writer *writer, enum uc_cose_curve curve,
			     const uint8_t public_key[UC_PUBLIC_KEY_BYTES])
{
	uint8_t key[UC_COSE_KEY_BYTES] = {0};

	uc_cose_key_write(curve, public_key, key);
	put_key(writer, CLAIM_CNF);
	put_head(writer, CBOR_MAP, 1);
	put_key(writer, 1);
	uc_writer_bytes(writer, key, sizeof(key));
}

static uint32_t lifecycle(const struct uc_port_facts *facts)
{
	if (uc_port_build() == 0)
		return LIFECYCLE_TEST;
	return facts->hardware_key == UC_HARDWARE_KEY_UNIQUE
		       ? LIFECYCLE_SECURED
		       : LIFECYCLE_UNKNOWN;
}

static bool write_claims(struct uc_writer *writer, const uint8_t *nonce,
			 size_t nonce_len, uint32_t secure_memory)
{
	uint8_t public_key[UC_PUBLIC_KEY_BYTES] = {0};
	uint8_t ueid[1 + UC_KEY_ID_BYTES] = {UEID_RAND};
	uint8_t measurement[MEASUREMENT_BYTES] = {0};
	struct uc_port_facts facts = {0};
	size_t measured = uc_port_measurement(nonce, nonce_len, measurement,
					      sizeof(measurement));

	/* What no verifier takes is no measurement. */
	if (measured < LEAST_MEASUREMENT_BYTES)
		measured = 0;
	/* In this order: the first has storage looked into. */
	if (!uc_device_id(ueid + 1) || !uc_port_device_public_key(public_key))
		return false;
	uc_port_facts(&facts);
	put_head(writer, CBOR_MAP, measured != 0 ? 12 : 11);
	put_confirmation(writer, UC_COSE_X25519, public_key);
	put_bytes(writer, CLAIM_NONCE, nonce, nonce_len);
	put_bytes(writer, CLAIM_UEID, ueid, sizeof(ueid));
	put_number(writer, CLAIM_DBGSTAT,
		   uc_port_build() == 0 ? DEBUG_ENABLED : DEBUG_DISABLED);
	put_key(writer, CLAIM_PROFILE);
	put_text(writer, UC_EVIDENCE_PROFILE);
	put_key(writer, CLAIM_SWNAME);
	put_text(writer, "undercroft");
	put_key(writer, CLAIM_SWVERSION);
	put_head(writer, CBOR_ARRAY, 1);
	put_text(writer, "0.1.0");
	put_number(writer, CLAIM_LIFECYCLE, lifecycle(&facts));
	put_bytes(writer, CLAIM_BUILD_ID, facts.build_id,
		  sizeof(facts.build_id));
	put_number(writer, CLAIM_HARDWARE_KEY, facts.hardware_key);
	put_number(writer, CLAIM_SECURE_MEMORY, secure_memory);
	if (measured != 0)
		put_bytes(writer, CLAIM_MEASUREMENT, measurement, measured);
	return writer->ok;
}

/* As a provider's bucket, with the device's attestation key. */
static bool write_bucket(struct uc_writer *writer)
{
	uint8_t public_key[UC_PUBLIC_KEY_BYTES] = {0};
	uint8_t key_id[UC_KEY_ID_BYTES] = {0};

	if (!uc_port_attestation_public_key(public_key) ||
	    !uc_cose_key_id(UC_COSE_ED25519, public_key, key_id))
		return false;
	put_head(writer, CBOR_MAP, 3);
	put_key(writer, 1);
	put_head(writer, CBOR_NINT, 7); /* EdDSA */
	put_bytes(writer, 4, key_id, sizeof(key_id));
	put_key(writer, 14);
	put_head(writer, CBOR_MAP, 1);
	put_confirmation(writer, UC_COSE_ED25519, public_key);
	return writer->ok;
}

enum uc_status uc_attest(const uint8_t *nonce, size_t nonce_len,
			 uint32_t secure_memory, uint8_t *out, size_t *len)
{
	uint8_t bucket[160] = {0};
	uint8_t claims[1024] = {0};
	uint8_t to_be_signed[sizeof(bucket) + sizeof(claims) + 32] = {0};
	uint8_t signature[UC_SIGNATURE_BYTES] = {0};
	struct uc_writer b = {0};
	struct uc_writer c = {0};
	struct uc_writer w = {0};

	uc_writer_init(&b, bucket, sizeof(bucket));
	uc_writer_init(&c, claims, sizeof(claims));
	if (!write_bucket(&b) ||
	    !write_claims(&c, nonce, nonce_len, secure_memory))
		return UC_ST_STORAGE;
	/* ["Signature1", protected, external_aad (empty), payload] */
	uc_writer_init(&w, to_be_signed, sizeof(to_be_signed));
	put_head(&w, CBOR_ARRAY, 4);
	put_text(&w, "Signature1");
	uc_writer_bstr(&w, bucket, b.len);
	uc_writer_bstr(&w, NULL, 0);
	uc_writer_bstr(&w, claims, c.len);
	if (!w.ok)
		return UC_ST_INTERNAL;
	if (!uc_port_attestation_sign(to_be_signed, w.len, signature))
		return UC_ST_STORAGE;
	/* [protected, unprotected (empty), payload, signature] */
	uc_writer_init(&w, out, *len);
	put_head(&w, CBOR_ARRAY, 4);
	uc_writer_bstr(&w, bucket, b.len);
	put_head(&w, CBOR_MAP, 0);
	uc_writer_bstr(&w, claims, c.len);
	uc_writer_bstr(&w, signature, sizeof(signature));
	*len = w.len;
	return w.ok ? UC_ST_OK : UC_ST_INTERNAL;
}
