/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES-256-GCM of pages for 64-bit Arm with the cryptography extension: the glue
 * around OpenSSL's assembly, three objects of libcrypto.a linked as they are.
 * It needs nothing of its port but uc_port_wipe().
 *
 * The assembly's contract (OpenSSL 3, crypto/modes and crypto/aes):
 * - aes_v8_set_encrypt_key() fills 15 round keys and, at byte 240, the number
 *   of rounds.
 * - gcm_init_v8() takes the hash key as two native 64-bit numbers, the most
 *   significant first, and fills twelve 16-byte entries.
 * - aes_gcm_dec_256_kernel() and aes_gcm_enc_256_kernel() take whole 16-byte
 *   blocks and their length in BITS, and one pointer for the running hash and,
 *   32 bytes behind it, the table. They read a block before they write it, so
 *   in place is fine, hash the ciphertext, and start at the counter block that
 *   they are given.
 */
#include <string.h>

#include "aead.h"

#define BLOCK_BYTES 16U
#define ROUND_KEY_BYTES (15U * BLOCK_BYTES)
#define TABLE_ENTRIES 16U

struct aes_key {
	uint32_t round_keys[ROUND_KEY_BYTES / 4U];
	uint32_t rounds;
	uint32_t unused[3];
};

struct ghash {
	_Alignas(16) uint8_t hash[BLOCK_BYTES]; /* big-endian, running */
	uint8_t unused[BLOCK_BYTES];
	uint64_t table[TABLE_ENTRIES][2];
};

struct gcm {
	struct aes_key key;
	struct ghash ghash; /* hash = 0: where every message starts */
};

_Static_assert(sizeof(struct gcm) <= UC_AEAD_STATE_BYTES, "aead has room");
_Static_assert(offsetof(struct aes_key, rounds) == 240, "layout of AES_KEY");
_Static_assert(offsetof(struct ghash, table) == 32, "layout for the kernel");

int aes_v8_set_encrypt_key(const uint8_t *key, int bits, struct aes_key *out);
void aes_v8_encrypt(const uint8_t *in, uint8_t *out, const struct aes_key *key);
void gcm_init_v8(uint64_t table[TABLE_ENTRIES][2], const uint64_t h[2]);
void gcm_gmult_v8(uint8_t hash[BLOCK_BYTES],
		  const uint64_t table[TABLE_ENTRIES][2]);
size_t aes_gcm_dec_256_kernel(const uint8_t *in, size_t len_bits, uint8_t *out,
			      struct ghash *ghash, uint8_t counter[BLOCK_BYTES],
			      const struct aes_key *key);
size_t aes_gcm_enc_256_kernel(const uint8_t *in, size_t len_bits, uint8_t *out,
			      struct ghash *ghash, uint8_t counter[BLOCK_BYTES],
			      const struct aes_key *key);

static void store_be64(uint8_t *out, uint64_t value)
{
	for (size_t i = 0; i < 8; i++)
		out[i] = (uint8_t)(value >> (56U - 8U * i));
}

static uint64_t load_be64(const uint8_t *in)
{
	uint64_t value = 0;

	for (size_t i = 0; i < 8; i++)
		value = (value << 8) | in[i];
	return value;
}

static void xor_block(uint8_t *into, const uint8_t *from)
{
	for (size_t i = 0; i < BLOCK_BYTES; i++)
		into[i] ^= from[i];
}

static bool init(void *state, const uint8_t key[32])
{
	struct gcm *gcm = state;
	uint8_t h[BLOCK_BYTES] = {0};
	uint64_t h_words[2] = {0};

	if (aes_v8_set_encrypt_key(key, 256, &gcm->key) != 0)
		return false;
	aes_v8_encrypt(h, h, &gcm->key);
	h_words[0] = load_be64(h);
	h_words[1] = load_be64(h + 8);
	gcm_init_v8(gcm->ghash.table, h_words);
	uc_port_wipe(h, sizeof(h));
	uc_port_wipe(h_words, sizeof(h_words));
	return true;
}

typedef size_t (*gcm_kernel)(const uint8_t *in, size_t len_bits, uint8_t *out,
			     struct ghash *ghash, uint8_t counter[BLOCK_BYTES],
			     const struct aes_key *key);

/* One message in place, and its tag. */
static void gcm_message(const struct gcm *gcm, gcm_kernel kernel,
			const uint8_t nonce[12], uint8_t *data, size_t len,
			uint8_t tag[BLOCK_BYTES])
{
	struct ghash ghash = gcm->ghash;
	uint8_t counter[BLOCK_BYTES] = {0};
	uint8_t mask[BLOCK_BYTES] = {0};
	uint8_t lengths[BLOCK_BYTES] = {0};

	memcpy(counter, nonce, 12);
	counter[15] = 1;
	aes_v8_encrypt(counter, mask, &gcm->key);
	counter[15] = 2;
	if (len != 0)
		(void)kernel(data, len * 8U, data, &ghash, counter, &gcm->key);
	store_be64(lengths + 8, (uint64_t)len * 8U);
	xor_block(ghash.hash, lengths);
	gcm_gmult_v8(ghash.hash, ghash.table);
	xor_block(ghash.hash, mask);
	memcpy(tag, ghash.hash, BLOCK_BYTES);
	uc_port_wipe(&ghash, sizeof(ghash));
	uc_port_wipe(counter, sizeof(counter));
	uc_port_wipe(mask, sizeof(mask));
}

/* The kernels take bits. */
static bool fits(size_t len)
{
	return len <= (SIZE_MAX >> 4);
}

static bool open_page(const void *state, const uint8_t nonce[12], uint8_t *data,
		      size_t len, const uint8_t tag[UC_AEAD_TAG_BYTES])
{
	uint8_t expected[BLOCK_BYTES] = {0};
	bool good = false;

	if (!fits(len))
		return false;
	gcm_message(state, aes_gcm_dec_256_kernel, nonce, data, len, expected);
	good = uc_aead_tags_equal(expected, tag);
	uc_port_wipe(expected, sizeof(expected));
	return good;
}

static bool seal_page(const void *state, const uint8_t nonce[12], uint8_t *data,
		      size_t len, uint8_t tag[UC_AEAD_TAG_BYTES])
{
	if (!fits(len))
		return false;
	gcm_message(state, aes_gcm_enc_256_kernel, nonce, data, len, tag);
	return true;
}

const struct uc_aead_cipher uc_aead_aes_256_gcm = {
	.state_bytes = sizeof(struct gcm),
	.init = init,
	.open = open_page,
	.seal = seal_page,
};
