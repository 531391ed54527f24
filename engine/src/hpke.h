/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HPKE (RFC 9180), base mode, recipient's side: DHKEM(X25519, HKDF-SHA256),
 * HKDF-SHA256, AES-128-GCM; one message, and exported secrets. The private key
 * stays behind uc_port_device_dh().
 */
#ifndef UC_HPKE_H
#define UC_HPKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UC_HPKE_KEY_BYTES 32 /* X25519: encapsulated and public keys */
#define UC_HPKE_TAG_BYTES 16
#define UC_HPKE_MAX_PLAINTEXT 64
#define UC_HPKE_MAX_INFO 64

struct uc_hpke_context {
	uint8_t key[16];
	uint8_t nonce[12];
	uint8_t exporter_secret[32];
};

/* SetupBaseR of section 5.1.1. public_key is the device's own. On false the
 * context is zero; else the caller ends it. */
bool uc_hpke_begin(struct uc_hpke_context *context,
		   const uint8_t enc[UC_HPKE_KEY_BYTES],
		   const uint8_t public_key[UC_HPKE_KEY_BYTES],
		   const uint8_t *info, size_t info_len);
void uc_hpke_end(struct uc_hpke_context *context);

/*
 * Opens the first message, ciphertext || tag, ciphertext_len bytes in all, into
 * plaintext, which has room for ciphertext_len - UC_HPKE_TAG_BYTES bytes and is
 * zero on failure. No message at all is one of UC_HPKE_TAG_BYTES bytes.
 */
bool uc_hpke_open_first(const struct uc_hpke_context *context,
			const uint8_t *aad, size_t aad_len,
			const uint8_t *ciphertext, size_t ciphertext_len,
			uint8_t *plaintext);

/* Context.Export of section 5.3, 32 bytes; false when exporter_context is over
 * UC_HPKE_MAX_INFO. */
bool uc_hpke_export(const struct uc_hpke_context *context,
		    const uint8_t *exporter_context, size_t len,
		    uint8_t secret[32]);

/* Open of section 6.1: the three steps that one message takes. */
bool uc_hpke_open(const uint8_t enc[UC_HPKE_KEY_BYTES],
		  const uint8_t public_key[UC_HPKE_KEY_BYTES],
		  const uint8_t *info, size_t info_len, const uint8_t *aad,
		  size_t aad_len, const uint8_t *ciphertext,
		  size_t ciphertext_len, uint8_t *plaintext);

#endif /* UC_HPKE_H */
