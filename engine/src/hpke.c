// SPDX-License-Identifier: Apache-2.0
#include "hpke.h"

#include <string.h>

#include "hkdf.h"
#include "uc_port.h"
#include "writer.h"

#define MODE_BASE 0

struct suite_id {
	uint8_t bytes[10];
	size_t len;
};

/* RFC 9180, section 4.1: "KEM" || DHKEM(X25519, HKDF-SHA256). */
static const struct suite_id kem_suite = {{'K', 'E', 'M', 0x00, 0x20}, 5};
/* Section 5.1: "HPKE" || KEM || HKDF-SHA256 || AES-128-GCM. */
static const struct suite_id hpke_suite = {
	{'H', 'P', 'K', 'E', 0x00, 0x20, 0x00, 0x01, 0x00, 0x01}, 10};

/* Section 4, LabeledExtract. */
static bool labeled_extract(const struct suite_id *suite, const uint8_t *salt,
			    const char *label, const uint8_t *ikm,
			    size_t ikm_len, uint8_t prk[UC_HKDF_BYTES])
{
	uint8_t labeled[UC_HPKE_MAX_INFO + 32] = {0};
	struct uc_writer writer = {0};
	bool ok = false;

	uc_writer_init(&writer, labeled, sizeof(labeled));
	uc_writer_text(&writer, "HPKE-v1");
	uc_writer_bytes(&writer, suite->bytes, suite->len);
	uc_writer_text(&writer, label);
	uc_writer_bytes(&writer, ikm, ikm_len);
	ok = writer.ok && uc_hkdf_extract(salt, labeled, writer.len, prk);
	uc_port_wipe(labeled, sizeof(labeled));
	return ok;
}

/* Section 4, LabeledExpand. */
static bool labeled_expand(const struct suite_id *suite,
			   const uint8_t prk[UC_HKDF_BYTES], const char *label,
			   const uint8_t *info, size_t info_len, uint8_t *out,
			   size_t len)
{
	uint8_t labeled[128] = {0};
	struct uc_writer writer = {0};
	bool ok = false;

	uc_writer_init(&writer, labeled, sizeof(labeled));
	uc_writer_byte(&writer, 0); /* I2OSP(len, 2), len is below 256 */
	uc_writer_byte(&writer, (uint8_t)len);
	uc_writer_text(&writer, "HPKE-v1");
	uc_writer_bytes(&writer, suite->bytes, suite->len);
	uc_writer_text(&writer, label);
	uc_writer_bytes(&writer, info, info_len);
	ok = writer.ok && uc_hkdf_expand(prk, labeled, writer.len, out, len);
	uc_port_wipe(labeled, sizeof(labeled));
	return ok;
}

/* Section 4.1, Decap and ExtractAndExpand. */
static bool decapsulate(const uint8_t enc[UC_HPKE_KEY_BYTES],
			const uint8_t public_key[UC_HPKE_KEY_BYTES],
			uint8_t shared_secret[UC_HKDF_BYTES])
{
	uint8_t kem_context[2 * UC_HPKE_KEY_BYTES] = {0};
	uint8_t dh[UC_HPKE_KEY_BYTES] = {0};
	uint8_t prk[UC_HKDF_BYTES] = {0};
	bool ok = false;

	memcpy(kem_context, enc, UC_HPKE_KEY_BYTES);
	memcpy(kem_context + UC_HPKE_KEY_BYTES, public_key, UC_HPKE_KEY_BYTES);
	ok = uc_port_device_dh(enc, dh) &&
	     labeled_extract(&kem_suite, NULL, "eae_prk", dh, sizeof(dh),
			     prk) &&
	     labeled_expand(&kem_suite, prk, "shared_secret", kem_context,
			    sizeof(kem_context), shared_secret, UC_HKDF_BYTES);
	uc_port_wipe(dh, sizeof(dh));
	uc_port_wipe(prk, sizeof(prk));
	return ok;
}

/* Section 5.1, KeySchedule in base mode. */
static bool key_schedule(struct uc_hpke_context *context,
			 const uint8_t shared_secret[UC_HKDF_BYTES],
			 const uint8_t *info, size_t info_len)
{
	uint8_t schedule[1 + 2 * UC_HKDF_BYTES] = {MODE_BASE};
	uint8_t secret[UC_HKDF_BYTES] = {0};
	bool ok = false;

	ok = labeled_extract(&hpke_suite, NULL, "psk_id_hash", NULL, 0,
			     schedule + 1) &&
	     labeled_extract(&hpke_suite, NULL, "info_hash", info, info_len,
			     schedule + 1 + UC_HKDF_BYTES) &&
	     labeled_extract(&hpke_suite, shared_secret, "secret", NULL, 0,
			     secret) &&
	     labeled_expand(&hpke_suite, secret, "key", schedule,
			    sizeof(schedule), context->key,
			    sizeof(context->key)) &&
	     labeled_expand(&hpke_suite, secret, "base_nonce", schedule,
			    sizeof(schedule), context->nonce,
			    sizeof(context->nonce)) &&
	     labeled_expand(&hpke_suite, secret, "exp", schedule,
			    sizeof(schedule), context->exporter_secret,
			    sizeof(context->exporter_secret));
	uc_port_wipe(secret, sizeof(secret));
	return ok;
}

bool uc_hpke_begin(struct uc_hpke_context *context,
		   const uint8_t enc[UC_HPKE_KEY_BYTES],
		   const uint8_t public_key[UC_HPKE_KEY_BYTES],
		   const uint8_t *info, size_t info_len)
{
	uint8_t shared_secret[UC_HKDF_BYTES] = {0};
	bool ok = decapsulate(enc, public_key, shared_secret) &&
		  key_schedule(context, shared_secret, info, info_len);

	if (!ok)
		uc_hpke_end(context);
	uc_port_wipe(shared_secret, sizeof(shared_secret));
	return ok;
}

void uc_hpke_end(struct uc_hpke_context *context)
{
	uc_port_wipe(context, sizeof(*context));
}

static bool is_message(size_t ciphertext_len)
{
	return ciphertext_len >= UC_HPKE_TAG_BYTES &&
	       ciphertext_len <= UC_HPKE_MAX_PLAINTEXT + UC_HPKE_TAG_BYTES;
}

bool uc_hpke_open_first(const struct uc_hpke_context *context,
			const uint8_t *aad, size_t aad_len,
			const uint8_t *ciphertext, size_t ciphertext_len,
			uint8_t *plaintext)
{
	size_t len = 0;

	if (!is_message(ciphertext_len))
		return false;
	len = ciphertext_len - UC_HPKE_TAG_BYTES;
	memcpy(plaintext, ciphertext, len);
	/* The nonce of message 0 is the base nonce itself (section 5.2). */
	return uc_port_aes128gcm_open(context->key, context->nonce, aad,
				      aad_len, plaintext, len,
				      ciphertext + len);
}

bool uc_hpke_export(const struct uc_hpke_context *context,
		    const uint8_t *exporter_context, size_t len,
		    uint8_t secret[32])
{
	return len <= UC_HPKE_MAX_INFO &&
	       labeled_expand(&hpke_suite, context->exporter_secret, "sec",
			      exporter_context, len, secret, UC_HKDF_BYTES);
}

bool uc_hpke_open(const uint8_t enc[UC_HPKE_KEY_BYTES],
		  const uint8_t public_key[UC_HPKE_KEY_BYTES],
		  const uint8_t *info, size_t info_len, const uint8_t *aad,
		  size_t aad_len, const uint8_t *ciphertext,
		  size_t ciphertext_len, uint8_t *plaintext)
{
	struct uc_hpke_context context = {0};
	bool ok = false;

	if (!is_message(ciphertext_len))
		return false;
	memset(plaintext, 0, ciphertext_len - UC_HPKE_TAG_BYTES);
	ok = uc_hpke_begin(&context, enc, public_key, info, info_len) &&
	     uc_hpke_open_first(&context, aad, aad_len, ciphertext,
				ciphertext_len, plaintext);
	uc_hpke_end(&context);
	return ok;
}
