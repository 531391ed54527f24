/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One cipher of pages. A build links one implementation of each of the three
 * below; aead.c finds the one that a suite number means.
 */
#ifndef UC_PORT_AEAD_H
#define UC_PORT_AEAD_H

#include "uc_port.h"
#include "uc_secret.h"

#define UC_AEAD_STATE_BYTES (UC_PORT_AEAD_BYTES - 16)
#define UC_AEAD_TAG_BYTES 16

/*
 * As the functions of uc_port.h, but for wiping, which aead.c does: len is a
 * multiple of 16, what fails leaves data to be wiped.
 */
struct uc_aead_cipher {
	size_t state_bytes; /* at most UC_AEAD_STATE_BYTES */
	bool (*init)(void *state, const uint8_t key[32]);
	bool (*open)(const void *state, const uint8_t nonce[12], uint8_t *data,
		     size_t len, const uint8_t tag[UC_AEAD_TAG_BYTES]);
	/* NULL when the cipher reads its input more than once, or may. */
	bool (*open_shared)(const void *state, const uint8_t nonce[12],
			    const uint8_t *ns_data, uint8_t *data, size_t len,
			    const uint8_t tag[UC_AEAD_TAG_BYTES]);
	bool (*seal)(const void *state, const uint8_t nonce[12], uint8_t *data,
		     size_t len, uint8_t tag[UC_AEAD_TAG_BYTES]);
};

/* The time does not depend on where the two differ. */
static inline bool uc_aead_tags_equal(const uint8_t *a, const uint8_t *b)
{
	volatile uint8_t difference = 0;
	bool equal = false;

	for (size_t i = 0; i < UC_AEAD_TAG_BYTES; i++)
		difference = (uint8_t)(difference | (a[i] ^ b[i]));
	equal = difference == 0;
	/* Everybody learns whether a page verified. */
	uc_secret_is_public(&equal, sizeof(equal));
	return equal;
}

extern const struct uc_aead_cipher uc_aead_aes_256_gcm;
extern const struct uc_aead_cipher uc_aead_aegis_128l;
extern const struct uc_aead_cipher uc_aead_chacha20_poly1305;

#endif /* UC_PORT_AEAD_H */
