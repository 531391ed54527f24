/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ChaCha20-Poly1305 of pages (RFC 8439) for 64-bit Arm, with or without the
 * cryptography extension: the glue around OpenSSL's assembly, two objects of
 * libcrypto.a linked as they are. Pages carry no additional data.
 *
 * The assembly's contract (OpenSSL 3, crypto/chacha and crypto/poly1305):
 * - ChaCha20_ctr32() takes the counter block as four native 32-bit numbers,
 *   the counter first, and XORs its key stream; in place is fine.
 * - poly1305_init() clamps the first 16 bytes of the one-time key and returns
 *   the two functions to go on with; poly1305_blocks() takes whole blocks and
 *   the bit behind each; poly1305_emit() adds the last 16 bytes of the key,
 *   four native 32-bit numbers.
 * - OPENSSL_armcap_P says what the processor has: bit 0 is NEON.
 */
#include <string.h>

#include "aead.h"

#define KEY_WORDS 8U
#define BLOCK_BYTES 16U
#define POLY1305_BYTES 192U
#define HAS_NEON 1U

typedef void (*poly1305_blocks_fn)(void *state, const uint8_t *in, size_t len,
				   uint32_t bit);
typedef void (*poly1305_emit_fn)(void *state, uint8_t mac[BLOCK_BYTES],
				 const uint32_t nonce[4]);

struct poly1305_functions {
	poly1305_blocks_fn blocks;
	poly1305_emit_fn emit;
};

struct poly1305 {
	_Alignas(16) uint8_t opaque[POLY1305_BYTES];
};

extern unsigned int OPENSSL_armcap_P;
unsigned int OPENSSL_armcap_P = HAS_NEON;

void ChaCha20_ctr32(uint8_t *out, const uint8_t *in, size_t len,
		    const uint32_t key[KEY_WORDS], const uint32_t counter[4]);
int poly1305_init(struct poly1305 *state, const uint8_t key[BLOCK_BYTES],
		  struct poly1305_functions *functions);

/* ChaCha20_ctr32() goes there when OPENSSL_armcap_P says so: never. */
void ChaCha20_ctr32_sve(void);
void ChaCha20_ctr32_sve(void)
{
	__builtin_trap();
}

static void counter_block(uint32_t block[4], uint32_t counter,
			  const uint8_t nonce[12])
{
	block[0] = counter;
	memcpy(block + 1, nonce, 12);
}

/* The tag of the ciphertext. */
static void authenticate(const uint32_t *key, const uint8_t nonce[12],
			 const uint8_t *data, size_t len,
			 uint8_t tag[UC_AEAD_TAG_BYTES])
{
	struct poly1305_functions run = {0};
	struct poly1305 state = {0};
	uint64_t lengths[2] = {0, len};
	uint8_t one_time[64] = {0};
	uint32_t counter[4] = {0};
	uint32_t pad[4] = {0};

	counter_block(counter, 0, nonce);
	ChaCha20_ctr32(one_time, one_time, sizeof(one_time), key, counter);
	(void)poly1305_init(&state, one_time, &run);
	if (len != 0)
		run.blocks(&state, data, len, 1);
	run.blocks(&state, (const uint8_t *)lengths, sizeof(lengths), 1);
	memcpy(pad, one_time + BLOCK_BYTES, sizeof(pad));
	run.emit(&state, tag, pad);
	uc_port_wipe(&state, sizeof(state));
	uc_port_wipe(one_time, sizeof(one_time));
	uc_port_wipe(pad, sizeof(pad));
}

static void xor_stream(const uint32_t *key, const uint8_t nonce[12],
		       uint8_t *data, size_t len)
{
	uint32_t counter[4] = {0};

	counter_block(counter, 1, nonce);
	if (len != 0)
		ChaCha20_ctr32(data, data, len, key, counter);
}

/* The counter is one word: what a message may be at most. */
static bool fits(size_t len)
{
	return (uint64_t)len / 64U < UINT32_MAX;
}

static bool init(void *state, const uint8_t key[32])
{
	memcpy(state, key, 32);
	return true;
}

static bool open_page(const void *state, const uint8_t nonce[12], uint8_t *data,
		      size_t len, const uint8_t tag[UC_AEAD_TAG_BYTES])
{
	uint8_t expected[UC_AEAD_TAG_BYTES] = {0};
	bool good = false;

	if (!fits(len))
		return false;
	authenticate(state, nonce, data, len, expected);
	good = uc_aead_tags_equal(expected, tag);
	if (good)
		xor_stream(state, nonce, data, len);
	uc_port_wipe(expected, sizeof(expected));
	return good;
}

static bool seal_page(const void *state, const uint8_t nonce[12], uint8_t *data,
		      size_t len, uint8_t tag[UC_AEAD_TAG_BYTES])
{
	if (!fits(len))
		return false;
	xor_stream(state, nonce, data, len);
	authenticate(state, nonce, data, len, tag);
	return true;
}

const struct uc_aead_cipher uc_aead_chacha20_poly1305 = {
	.state_bytes = 32,
	.init = init,
	.open = open_page,
	.seal = seal_page,
};
