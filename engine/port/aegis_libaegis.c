/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AEGIS-128L of pages (draft-irtf-cfrg-aegis-aead) on the host, by libaegis,
 * which picks what the processor has: AES-NI, Arm's cryptography extension, or
 * plain C.
 */
#include "aead.h"

#include <pthread.h>
#include <string.h>

#include <aegis.h>
#include <aegis128l.h>

#define KEY_BYTES 16U
#define NONCE_BYTES 16U

int aegis_runtime_get_cpu_features(void);
int aegis128l_pick_best_implementation(void);

static pthread_once_t picked = PTHREAD_ONCE_INIT;

/* libaegis's own aegis_init() wants all of its variants. */
static void pick(void)
{
	(void)aegis_runtime_get_cpu_features();
	(void)aegis128l_pick_best_implementation();
}

/* What libaegis has in the same file as aegis_init(). */
int aegis_verify_16(const uint8_t *x, const uint8_t *y);
int aegis_verify_32(const uint8_t *x, const uint8_t *y);

int aegis_verify_16(const uint8_t *x, const uint8_t *y)
{
	return uc_aead_tags_equal(x, y) ? 0 : -1;
}

int aegis_verify_32(const uint8_t *x, const uint8_t *y)
{
	/* Both halves are compared, whatever the first says. */
	bool first = uc_aead_tags_equal(x, y);
	bool second = uc_aead_tags_equal(x + UC_AEAD_TAG_BYTES,
					 y + UC_AEAD_TAG_BYTES);

	return first && second ? 0 : -1;
}

/* The first 16 bytes: what HKDF would give for that length. */
static bool init(void *state, const uint8_t key[32])
{
	memcpy(state, key, KEY_BYTES);
	return pthread_once(&picked, pick) == 0;
}

/* Four zero bytes more than the other suites' nonce. */
static void widen(uint8_t wide[NONCE_BYTES], const uint8_t nonce[12])
{
	memset(wide, 0, NONCE_BYTES);
	memcpy(wide, nonce, 12);
}

static bool open_page(const void *state, const uint8_t nonce[12], uint8_t *data,
		      size_t len, const uint8_t tag[UC_AEAD_TAG_BYTES])
{
	uint8_t wide[NONCE_BYTES] = {0};

	widen(wide, nonce);
	return aegis128l_decrypt_detached(data, data, len, tag,
					  UC_AEAD_TAG_BYTES, NULL, 0, wide,
					  state) == 0;
}

static bool seal_page(const void *state, const uint8_t nonce[12], uint8_t *data,
		      size_t len, uint8_t tag[UC_AEAD_TAG_BYTES])
{
	uint8_t wide[NONCE_BYTES] = {0};

	widen(wide, nonce);
	return aegis128l_encrypt_detached(data, tag, UC_AEAD_TAG_BYTES, data,
					  len, NULL, 0, wide, state) == 0;
}

const struct uc_aead_cipher uc_aead_aegis_128l = {
	.state_bytes = KEY_BYTES,
	.init = init,
	.open = open_page,
	.seal = seal_page,
};
