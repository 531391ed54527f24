/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HPKE (RFC 9180), base mode, one message, recipient's side:
 * DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM. The private key stays
 * behind uc_port_device_dh().
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

/*
 * Opens ciphertext || tag, ciphertext_len bytes in all, into plaintext, which
 * has room for ciphertext_len - UC_HPKE_TAG_BYTES bytes and is zero on failure.
 * public_key is the device's own.
 */
bool uc_hpke_open(const uint8_t enc[UC_HPKE_KEY_BYTES],
		  const uint8_t public_key[UC_HPKE_KEY_BYTES],
		  const uint8_t *info, size_t info_len, const uint8_t *aad,
		  size_t aad_len, const uint8_t *ciphertext,
		  size_t ciphertext_len, uint8_t *plaintext);

#endif /* UC_HPKE_H */
