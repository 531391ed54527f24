/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memcpy, memmove and memset for 64-bit Arm where the C library has none worth
 * having. OP-TEE's move a byte at a time (memset and memmove always, memcpy
 * when a pointer is not a multiple of 8): five instructions for each byte,
 * more than AES-256-GCM takes. These take a 64-byte step in nine.
 *
 * To be compiled freestanding, so that loops do not become calls of
 * themselves, and with unaligned access allowed.
 */
#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

#define STEP 64U

void *memcpy(void *restrict dest, const void *restrict src, size_t len);
void *memmove(void *dest, const void *src, size_t len);
void *memset(void *dest, int value, size_t len);

static void copy_up(uint8_t *to, const uint8_t *from, size_t len)
{
	for (; len >= STEP; len -= STEP, to += STEP, from += STEP) {
		/* All loads before the stores: the two may overlap. */
		uint8x16_t a = vld1q_u8(from);
		uint8x16_t b = vld1q_u8(from + 16);
		uint8x16_t c = vld1q_u8(from + 32);
		uint8x16_t d = vld1q_u8(from + 48);

		vst1q_u8(to, a);
		vst1q_u8(to + 16, b);
		vst1q_u8(to + 32, c);
		vst1q_u8(to + 48, d);
	}
	for (; len >= 8; len -= 8, to += 8, from += 8)
		vst1_u8(to, vld1_u8(from));
	for (; len != 0; len--)
		*to++ = *from++;
}

static void copy_down(uint8_t *to, const uint8_t *from, size_t len)
{
	to += len;
	from += len;
	for (; len >= STEP; len -= STEP) {
		to -= STEP;
		from -= STEP;

		uint8x16_t a = vld1q_u8(from);
		uint8x16_t b = vld1q_u8(from + 16);
		uint8x16_t c = vld1q_u8(from + 32);
		uint8x16_t d = vld1q_u8(from + 48);

		vst1q_u8(to, a);
		vst1q_u8(to + 16, b);
		vst1q_u8(to + 32, c);
		vst1q_u8(to + 48, d);
	}
	for (; len >= 8; len -= 8) {
		to -= 8;
		from -= 8;
		vst1_u8(to, vld1_u8(from));
	}
	for (; len != 0; len--)
		*--to = *--from;
}

void *memcpy(void *restrict dest, const void *restrict src, size_t len)
{
	copy_up(dest, src, len);
	return dest;
}

void *memmove(void *dest, const void *src, size_t len)
{
	/* True too for dest below src: the difference wraps. */
	if ((uintptr_t)dest - (uintptr_t)src >= len)
		copy_up(dest, src, len);
	else
		copy_down(dest, src, len);
	return dest;
}

void *memset(void *dest, int value, size_t len)
{
	uint8_t *to = dest;
	uint8x16_t fill = vdupq_n_u8((uint8_t)value);

	for (; len >= STEP; len -= STEP, to += STEP) {
		vst1q_u8(to, fill);
		vst1q_u8(to + 16, fill);
		vst1q_u8(to + 32, fill);
		vst1q_u8(to + 48, fill);
	}
	for (; len >= 8; len -= 8, to += 8)
		vst1_u8(to, vget_low_u8(fill));
	for (; len != 0; len--)
		*to++ = (uint8_t)value;
	return dest;
}
