/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES-256-GCM of pages for 64-bit Arm with the cryptography extension: the glue
 * around OpenSSL's assembly, three objects of libcrypto.a linked as they are.
 * It implements uc_port_aead_init(), uc_port_aead_open() and
 * uc_port_aead_seal() and needs nothing else of its port than uc_port_wipe().
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

#include "uc_port.h"
#include "uc_spec.h"

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

_Static_assert(sizeof(struct gcm) <= UC_PORT_AEAD_BYTES, "aead has room");
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

/* The time does not depend on where the blocks differ. */
static bool equal_blocks(const uint8_t *a, const uint8_t *b)
{
	volatile uint8_t difference = 0;

	for (size_t i = 0; i < BLOCK_BYTES; i++)
		difference = (uint8_t)(difference | (a[i] ^ b[i]));
	return difference == 0;
}

bool uc_port_aead_init(struct uc_port_aead *aead, uint32_t suite,
		       const uint8_t key[32])
{
	struct gcm *gcm = (struct gcm *)(void *)aead->opaque;
	uint8_t h[BLOCK_BYTES] = {0};
	uint64_t h_words[2] = {0};

	memset(aead, 0, sizeof(*aead));
	if (suite != UC_SUITE_AES_256_GCM)
		return false;
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
static void gcm_message(const struct uc_port_aead *aead, gcm_kernel kernel,
			const uint8_t nonce[12], uint8_t *data, size_t len,
			uint8_t tag[BLOCK_BYTES])
{
	const struct gcm *gcm = (const struct gcm *)(const void *)aead->opaque;
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

/* Pages are whole blocks; a kernel must never see a part of one. */
static bool whole_blocks(size_t len)
{
	return len % BLOCK_BYTES == 0 && len <= (SIZE_MAX >> 4);
}

bool uc_port_aead_open(const struct uc_port_aead *aead, const uint8_t nonce[12],
		       uint8_t *data, size_t len, const uint8_t tag[16])
{
	uint8_t expected[BLOCK_BYTES] = {0};
	bool good = false;

	if (whole_blocks(len)) {
		gcm_message(aead, aes_gcm_dec_256_kernel, nonce, data, len,
			    expected);
		good = equal_blocks(expected, tag);
	}
	if (!good)
		uc_port_wipe(data, len);
	uc_port_wipe(expected, sizeof(expected));
	return good;
}

bool uc_port_aead_seal(const struct uc_port_aead *aead, const uint8_t nonce[12],
		       uint8_t *data, size_t len, uint8_t tag[16])
{
	if (!whole_blocks(len)) {
		uc_port_wipe(data, len);
		uc_port_wipe(tag, BLOCK_BYTES);
		return false;
	}
	gcm_message(aead, aes_gcm_enc_256_kernel, nonce, data, len, tag);
	return true;
}
