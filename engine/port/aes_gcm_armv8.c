/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES-256-GCM of pages (NIST SP 800-38D) for 64-bit Arm with the cryptography
 * extension. Pages are whole blocks of 16 bytes and carry no additional data.
 *
 * Three things make this 2.3 instructions a byte, against 3.3 of OpenSSL's
 * assembly:
 *
 * - Counter blocks of a page differ in their last bytes only, and until the
 *   second round has mixed columns each of those bytes acts on its own: round 1
 *   moves it to a column of its own, round 2 works on columns one by one and is
 *   linear from there. So what two rounds give for a counter is the exclusive
 *   or of what they give for its last byte alone (a table of 256, made once for
 *   a page) and of one shift for the bytes before it (one for 256 blocks),
 *   which is added with the third round's key for nothing. The table is read in
 *   the order of the counter, so no address depends on a secret.
 * - GHASH takes 16 blocks at a time by 16 powers of its key and reduces once.
 *   LD2 loads two blocks as the lower halves of both and the upper halves of
 *   both, so that one exclusive or makes both of Karatsuba's middle sums.
 * - RBIT turns the order of bits within bytes round, which makes GHASH's
 *   polynomials those of PMULL: bit i of a register is the coefficient of x^i.
 */
#include <string.h>

#include "aead.h"

#pragma GCC target("+crypto")
/* Loads moved ahead cost more registers than there are. */
#pragma GCC optimize("no-schedule-insns", "no-schedule-insns2", "no-tree-ter")
#include <arm_neon.h>

#define BLOCK_BYTES 16U
#define KEY_WORDS 8U
#define ROUND_KEYS 15U
#define BATCH 16U /* blocks at a time */
#define BATCH_BYTES (BATCH * BLOCK_BYTES)
#define FIRST_COUNTER 2U /* 1 is the tag's */
#define GROUP 256U	 /* blocks whose counters differ in the last byte */
/* Batches begin with FIRST_COUNTER, so a group's last one ends in the next. */
#define EARLY_ENTRIES (GROUP + FIRST_COUNTER)

/* Two powers of the hash key, as LD2 loads two blocks. */
struct powers {
	uint64x2_t low;	   /* x^0 to x^63 of both */
	uint64x2_t high;   /* x^64 to x^127 of both */
	uint64x2_t middle; /* low ^ high */
};

struct gcm {
	uint8x16_t round_keys[ROUND_KEYS];
	struct powers powers[BATCH / 2]; /* from the 16th and 15th down */
};

_Static_assert(sizeof(struct gcm) <= UC_AEAD_STATE_BYTES, "aead has room");

/* One of the compiler's own would copy registers: to it the operands of AESE
 * are equal, but one of them is destroyed. */
static inline uint8x16_t aes(uint8x16_t block, uint8x16_t key)
{
	__asm__("aese %0.16b, %1.16b\n\taesmc %0.16b, %0.16b"
		: "+w"(block)
		: "w"(key));
	return block;
}

static inline uint8x16_t aes_last(uint8x16_t block, uint8x16_t key)
{
	__asm__("aese %0.16b, %1.16b" : "+w"(block) : "w"(key));
	return block;
}

static uint8x16_t encrypt_block(const struct gcm *gcm, uint8x16_t block)
{
	const uint8x16_t *keys = gcm->round_keys;

	for (size_t i = 0; i < ROUND_KEYS - 2; i++)
		block = aes(block, keys[i]);
	return veorq_u8(aes_last(block, keys[ROUND_KEYS - 2]),
			keys[ROUND_KEYS - 1]);
}

/* FIPS 197's SubWord: of four equal columns, ShiftRows changes nothing. */
static uint32_t sub_word(uint32_t word)
{
	uint8x16_t words = vreinterpretq_u8_u32(vdupq_n_u32(word));

	words = vaeseq_u8(words, vdupq_n_u8(0));
	return vgetq_lane_u32(vreinterpretq_u32_u8(words), 0);
}

/* FIPS 197 section 5.2; words are little-endian, so RotWord turns right. */
static void expand_key(struct gcm *gcm, const uint8_t key[32])
{
	uint32_t words[ROUND_KEYS * 4U];
	uint32_t constant = 1;

	memcpy(words, key, 32);
	for (size_t i = KEY_WORDS; i < ROUND_KEYS * 4U; i++) {
		uint32_t word = words[i - 1];

		if (i % KEY_WORDS == 0) {
			word = sub_word(word);
			word = ((word >> 8) | (word << 24)) ^ constant;
			constant <<= 1;
		} else if (i % KEY_WORDS == 4) {
			word = sub_word(word);
		}
		words[i] = words[i - KEY_WORDS] ^ word;
	}
	memcpy(gcm->round_keys, words, sizeof(words));
	uc_port_wipe(words, sizeof(words));
}

/* ---- GHASH ---- */

static inline uint64x2_t multiply_low(uint64x2_t a, uint64x2_t b)
{
	return vreinterpretq_u64_p128(
		vmull_p64((poly64_t)vgetq_lane_u64(a, 0),
			  (poly64_t)vgetq_lane_u64(b, 0)));
}

static inline uint64x2_t multiply_high(uint64x2_t a, uint64x2_t b)
{
	return vreinterpretq_u64_p128(vmull_high_p64(vreinterpretq_p64_u64(a),
						     vreinterpretq_p64_u64(b)));
}

/* A product, or a sum of them, before it is reduced; middle is Karatsuba's. */
struct product {
	uint64x2_t low;
	uint64x2_t middle;
	uint64x2_t high;
};

/* Modulo x^128 + x^7 + x^2 + x + 1: what is at x^128 goes to 0x87 at 1. */
static inline uint64x2_t reduce(const struct product *product)
{
	const uint64x2_t fold = vdupq_n_u64(0x87);
	uint64x2_t low = product->low;
	uint64x2_t high = product->high;
	uint64x2_t middle = veorq_u64(product->middle, veorq_u64(low, high));

	/* From x^192 to x^64, which is where the middle is. */
	middle = veorq_u64(middle, multiply_high(high, fold));
	low = veorq_u64(low, vextq_u64(vdupq_n_u64(0), middle, 1));
	low = veorq_u64(low, multiply_low(high, fold));
	return veorq_u64(low, multiply_high(middle, fold));
}

static uint64x2_t multiply(uint64x2_t a, uint64x2_t b)
{
	uint64x2_t a_sums = veorq_u64(a, vextq_u64(a, a, 1));
	uint64x2_t b_sums = veorq_u64(b, vextq_u64(b, b, 1));
	struct product product = {
		.low = multiply_low(a, b),
		.middle = multiply_low(a_sums, b_sums),
		.high = multiply_high(a, b),
	};

	return reduce(&product);
}

static inline uint64x2_t turn_bits(uint64x2_t value)
{
	return vreinterpretq_u64_u8(vrbitq_u8(vreinterpretq_u8_u64(value)));
}

static void set_powers(struct gcm *gcm)
{
	uint64x2_t h = turn_bits(
		vreinterpretq_u64_u8(encrypt_block(gcm, vdupq_n_u8(0))));
	uint64x2_t even = h;

	for (size_t i = BATCH / 2; i-- > 0;) {
		struct powers *powers = &gcm->powers[i];
		uint64x2_t odd = even;

		even = multiply(odd, h);
		powers->low = vtrn1q_u64(even, odd);
		powers->high = vtrn2q_u64(even, odd);
		powers->middle = veorq_u64(powers->low, powers->high);
		even = multiply(even, h);
	}
}

static inline uint64x2_t hash_block(const struct gcm *gcm, uint64x2_t hash,
				    uint64x2_t block)
{
	const struct powers *last = &gcm->powers[BATCH / 2 - 1];

	return multiply(veorq_u64(hash, turn_bits(block)),
			vtrn2q_u64(last->low, last->high));
}

/* The hash of 16 more blocks. */
static inline __attribute__((always_inline)) uint64x2_t
hash_batch(const struct gcm *gcm, uint64x2_t hash, const uint8_t *data)
{
	const uint64_t *words = (const uint64_t *)(const void *)data;
	struct product sum;

	for (size_t i = 0; i < BATCH / 2; i++) {
		const struct powers *powers = &gcm->powers[i];
		uint64x2x2_t two = vld2q_u64(words);
		uint64x2_t low = turn_bits(two.val[0]);
		uint64x2_t high = turn_bits(two.val[1]);
		uint64x2_t middle;

		words += 4;
		__asm__("" : "+r"(words));
		if (i == 0) {
			/* The hash so far belongs to the first of the two. */
			low = veorq_u64(low, vtrn1q_u64(hash, vdupq_n_u64(0)));
			high = veorq_u64(high,
					 vtrn2q_u64(hash, vdupq_n_u64(0)));
		}
		middle = veorq_u64(low, high);
		if (i == 0) {
			sum.low = multiply_low(low, powers->low);
			sum.high = multiply_low(high, powers->high);
			sum.middle = multiply_low(middle, powers->middle);
		} else {
			sum.low = veorq_u64(sum.low,
					    multiply_low(low, powers->low));
			sum.high = veorq_u64(sum.high,
					     multiply_low(high, powers->high));
			sum.middle =
				veorq_u64(sum.middle,
					  multiply_low(middle, powers->middle));
		}
		sum.low = veorq_u64(sum.low, multiply_high(low, powers->low));
		sum.high =
			veorq_u64(sum.high, multiply_high(high, powers->high));
		sum.middle = veorq_u64(sum.middle,
				       multiply_high(middle, powers->middle));
	}
	return reduce(&sum);
}

/* ---- counter mode ---- */

static uint8x16_t counter_block(const uint8_t nonce[12], uint32_t counter)
{
	uint8_t block[BLOCK_BYTES];

	memcpy(block, nonce, 12);
	for (size_t i = 0; i < 4; i++)
		block[12 + i] = (uint8_t)(counter >> (24U - 8U * i));
	return vld1q_u8(block);
}

static inline uint8x16_t two_rounds(const struct gcm *gcm, uint8x16_t block)
{
	return aes(aes(block, gcm->round_keys[0]), gcm->round_keys[1]);
}

/* What two rounds give for the counters 0 to 255. */
static void set_early(const struct gcm *gcm, const uint8_t nonce[12],
		      uint8x16_t early[EARLY_ENTRIES])
{
	const uint8x16_t one = vsetq_lane_u8(1, vdupq_n_u8(0), 15);
	uint8x16_t block = counter_block(nonce, 0);

	for (size_t i = 0; i < GROUP; i += 2) {
		uint8x16_t second = vaddq_u8(block, one);

		early[i] = two_rounds(gcm, block);
		early[i + 1] = two_rounds(gcm, second);
		block = vaddq_u8(second, one);
	}
}

/* What is to be added to them for another group, and the third round's key. */
static uint8x16_t shift_of(const struct gcm *gcm, const uint8_t nonce[12],
			   const uint8x16_t early[EARLY_ENTRIES],
			   uint32_t counter)
{
	uint8x16_t begin = counter_block(nonce, counter & ~(GROUP - 1U));

	return veorq_u8(veorq_u8(two_rounds(gcm, begin), early[0]),
			gcm->round_keys[2]);
}

/* 16 blocks in place. */
static inline __attribute__((always_inline)) void
crypt_batch(const struct gcm *gcm, const uint8x16_t early[BATCH],
	    uint8x16_t shift, uint8_t *data)
{
	const uint8x16_t *keys = gcm->round_keys;
	const uint8x16_t before_last = keys[ROUND_KEYS - 2];
	const uint8x16_t last = keys[ROUND_KEYS - 1];
	uint8x16_t blocks[BATCH];

	for (size_t i = 0; i < BATCH; i++)
		blocks[i] = aes(early[i], shift);
#pragma GCC unroll 5
	for (size_t round = 3; round < ROUND_KEYS - 2; round += 2) {
		const uint8x16_t key0 = keys[round];
		const uint8x16_t key1 = keys[round + 1];

		for (size_t i = 0; i < BATCH; i++)
			blocks[i] = aes(blocks[i], key0);
		for (size_t i = 0; i < BATCH; i++)
			blocks[i] = aes(blocks[i], key1);
	}
	for (size_t i = 0; i < BATCH; i++)
		blocks[i] = aes_last(blocks[i], before_last);
	for (size_t i = 0; i < BATCH; i += 2) {
		uint8_t *at = data + i * BLOCK_BYTES;
		uint8x16_t in0 = vld1q_u8(at);
		uint8x16_t in1 = vld1q_u8(at + BLOCK_BYTES);

		in0 = veorq_u8(in0, last);
		in1 = veorq_u8(in1, last);
		in0 = veorq_u8(in0, blocks[i]);
		in1 = veorq_u8(in1, blocks[i + 1]);
		vst1q_u8(at, in0);
		vst1q_u8(at + BLOCK_BYTES, in1);
	}
}

/* The hash of the ciphertext; data is replaced. `seals` is known when this is
 * compiled. */
static inline __attribute__((always_inline)) uint64x2_t
crypt(const struct gcm *gcm, const uint8_t nonce[12], uint8_t *data, size_t len,
      bool seals)
{
	uint8x16_t early[EARLY_ENTRIES];
	uint8x16_t next = vdupq_n_u8(0);
	uint64x2_t hash = vdupq_n_u64(0);
	uint32_t counter = FIRST_COUNTER;

	if (len >= BATCH_BYTES) {
		set_early(gcm, nonce, early);
		next = shift_of(gcm, nonce, early, counter);
	}
	while (len >= BATCH_BYTES) {
		const uint8x16_t *entries = early + FIRST_COUNTER;
		const uint8x16_t shift = next;
		size_t batches = len / BATCH_BYTES;

		if (batches > GROUP / BATCH)
			batches = GROUP / BATCH;
		counter += (uint32_t)(batches * BATCH);
		len -= batches * BATCH_BYTES;
		next = shift_of(gcm, nonce, early, counter);
		for (size_t i = 0; i < FIRST_COUNTER; i++)
			early[GROUP + i] =
				veorq_u8(early[i], veorq_u8(shift, next));
		for (; batches > 0; batches--) {
			if (!seals)
				hash = hash_batch(gcm, hash, data);
			crypt_batch(gcm, entries, shift, data);
			if (seals)
				hash = hash_batch(gcm, hash, data);
			entries += BATCH;
			data += BATCH_BYTES;
		}
	}
	for (; len >= BLOCK_BYTES; len -= BLOCK_BYTES, data += BLOCK_BYTES) {
		uint8x16_t in = vld1q_u8(data);
		uint8x16_t out =
			encrypt_block(gcm, counter_block(nonce, counter++));

		out = veorq_u8(out, in);
		vst1q_u8(data, out);
		hash = hash_block(gcm, hash,
				  vreinterpretq_u64_u8(seals ? out : in));
	}
	uc_port_wipe(early, sizeof(early));
	return hash;
}

static void finish(const struct gcm *gcm, const uint8_t nonce[12],
		   uint64x2_t hash, size_t len, uint8_t tag[UC_AEAD_TAG_BYTES])
{
	uint8_t lengths[BLOCK_BYTES] = {0};
	uint64_t bits = (uint64_t)len * 8U;
	uint8x16_t mask = encrypt_block(gcm, counter_block(nonce, 1));

	for (size_t i = 0; i < 8; i++)
		lengths[8 + i] = (uint8_t)(bits >> (56U - 8U * i));
	hash = hash_block(gcm, hash, vreinterpretq_u64_u8(vld1q_u8(lengths)));
	vst1q_u8(tag, veorq_u8(vreinterpretq_u8_u64(turn_bits(hash)), mask));
}

static bool init(void *state, const uint8_t key[32])
{
	struct gcm *gcm = state;

	expand_key(gcm, key);
	set_powers(gcm);
	return true;
}

/* The counter has 32 bits, and begins with 2. */
static bool fits(size_t len)
{
	return len / BLOCK_BYTES <= UINT32_MAX - FIRST_COUNTER;
}

static bool open_page(const void *state, const uint8_t nonce[12], uint8_t *data,
		      size_t len, const uint8_t tag[UC_AEAD_TAG_BYTES])
{
	uint8_t expected[UC_AEAD_TAG_BYTES] = {0};
	uint64x2_t hash;
	bool good = false;

	if (!fits(len))
		return false;
	hash = crypt(state, nonce, data, len, false);
	finish(state, nonce, hash, len, expected);
	good = uc_aead_tags_equal(expected, tag);
	uc_port_wipe(expected, sizeof(expected));
	return good;
}

static bool seal_page(const void *state, const uint8_t nonce[12], uint8_t *data,
		      size_t len, uint8_t tag[UC_AEAD_TAG_BYTES])
{
	if (!fits(len))
		return false;
	finish(state, nonce, crypt(state, nonce, data, len, true), len, tag);
	return true;
}

const struct uc_aead_cipher uc_aead_aes_256_gcm = {
	.state_bytes = sizeof(struct gcm),
	.init = init,
	.open = open_page,
	.seal = seal_page,
};
