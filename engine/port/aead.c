/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page ciphers by their suite numbers, for every port. UC_NO_ARMV8_CRYPTO
 * leaves out those that need Arm's cryptography extension: their first
 * instruction would end a Trusted Application on a core without it.
 */
#include "aead.h"

#include <string.h>

#include "uc_spec.h"

#define BLOCK_BYTES 16U

/* What is in struct uc_port_aead: the suite, then the cipher's state. */
#define STATE_OFFSET 16U

_Static_assert(STATE_OFFSET + UC_AEAD_STATE_BYTES == UC_PORT_AEAD_BYTES,
	       "the suite and the state fill the room");

static const struct uc_aead_cipher *const ciphers[] = {
#ifndef UC_NO_ARMV8_CRYPTO
	[UC_SUITE_AES_256_GCM] = &uc_aead_aes_256_gcm,
	[UC_SUITE_AEGIS_128L] = &uc_aead_aegis_128l,
#endif
	[UC_SUITE_CHACHA20_POLY1305] = &uc_aead_chacha20_poly1305,
};

static const struct uc_aead_cipher *find(uint32_t suite)
{
	return suite < sizeof(ciphers) / sizeof(ciphers[0]) ? ciphers[suite]
							    : NULL;
}

static const struct uc_aead_cipher *cipher_of(const struct uc_port_aead *aead)
{
	uint32_t suite = 0;

	memcpy(&suite, aead->opaque, sizeof(suite));
	return find(suite);
}

bool uc_port_aead_init(struct uc_port_aead *aead, uint32_t suite,
		       const uint8_t key[32])
{
	const struct uc_aead_cipher *cipher = find(suite);

	memset(aead, 0, sizeof(*aead));
	if (!cipher || cipher->state_bytes > UC_AEAD_STATE_BYTES ||
	    !cipher->init(aead->opaque + STATE_OFFSET, key)) {
		uc_port_wipe(aead, sizeof(*aead));
		return false;
	}
	memcpy(aead->opaque, &suite, sizeof(suite));
	return true;
}

bool uc_port_aead_open(const struct uc_port_aead *aead, const uint8_t nonce[12],
		       uint8_t *data, size_t len, const uint8_t tag[16])
{
	const struct uc_aead_cipher *cipher = cipher_of(aead);
	bool good = cipher && len % BLOCK_BYTES == 0 &&
		    cipher->open(aead->opaque + STATE_OFFSET, nonce, data, len,
				 tag);

	if (!good)
		uc_port_wipe(data, len);
	return good;
}

bool uc_port_aead_reads_once(const struct uc_port_aead *aead)
{
	const struct uc_aead_cipher *cipher = cipher_of(aead);

	return cipher && cipher->open_shared;
}

bool uc_port_aead_open_shared(const struct uc_port_aead *aead,
			      const uint8_t nonce[12], const uint8_t *ns_data,
			      uint8_t *data, size_t len, const uint8_t tag[16])
{
	const struct uc_aead_cipher *cipher = cipher_of(aead);
	bool good = cipher && cipher->open_shared && len % BLOCK_BYTES == 0 &&
		    cipher->open_shared(aead->opaque + STATE_OFFSET, nonce,
					ns_data, data, len, tag);

	if (!good)
		uc_port_wipe(data, len);
	return good;
}

bool uc_port_aead_seal(const struct uc_port_aead *aead, const uint8_t nonce[12],
		       uint8_t *data, size_t len, uint8_t tag[16])
{
	const struct uc_aead_cipher *cipher = cipher_of(aead);
	bool good = cipher && len % BLOCK_BYTES == 0 &&
		    cipher->seal(aead->opaque + STATE_OFFSET, nonce, data, len,
				 tag);

	if (!good) {
		uc_port_wipe(data, len);
		uc_port_wipe(tag, UC_AEAD_TAG_BYTES);
	}
	return good;
}
