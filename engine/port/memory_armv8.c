/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memcpy, memmove and memset for 64-bit Arm where the C library has none worth
 * having. OP-TEE's move a byte at a time (memset and memmove always, memcpy
 * when a pointer is not a multiple of 8): five instructions for each byte,
 * more than AES-256-GCM takes. These take a 128-byte step in seven.
 *
 * To be compiled freestanding, so that loops do not become calls of
 * themselves, and with unaligned access allowed.
 */
#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

#define STEP 128U
#define HALF 64U

void *memcpy(void *restrict dest, const void *restrict src, size_t len);
void *memmove(void *dest, const void *src, size_t len);
void *memset(void *dest, int value, size_t len);

/* All loads of a step come before its stores: the two may overlap. */
static inline void copy_step(uint8_t *to, const uint8_t *from)
{
	uint8x16x4_t a = vld1q_u8_x4(from);
	uint8x16x4_t b = vld1q_u8_x4(from + HALF);

	vst1q_u8_x4(to, a);
	vst1q_u8_x4(to + HALF, b);
}

/* The same, moving both pointers on, which GCC would do with additions. */
static inline void take_step(uint8_t **to, const uint8_t **from)
{
	uint8x16x4_t a, b;

	__asm__ volatile(
		"ld1 {%S[a].16b - %V[a].16b}, [%[from]], #64\n\t"
		"ld1 {%S[b].16b - %V[b].16b}, [%[from]], #64\n\t"
		"st1 {%S[a].16b - %V[a].16b}, [%[to]], #64\n\t"
		"st1 {%S[b].16b - %V[b].16b}, [%[to]], #64"
		: [a] "=&w"(a), [b] "=&w"(b), [from] "+r"(*from), [to] "+r"(*to)
		:
		: "memory");
}

static inline void copy_16(uint8_t *to, const uint8_t *from)
{
	vst1q_u8(to, vld1q_u8(from));
}

static inline void copy_8(uint8_t *to, const uint8_t *from)
{
	vst1_u8(to, vld1_u8(from));
}

static inline __attribute__((always_inline)) void
copy_up(uint8_t *to, const uint8_t *from, size_t len)
{
	for (; len >= STEP; len -= STEP)
		take_step(&to, &from);
	for (; len >= 16; len -= 16, to += 16, from += 16)
		copy_16(to, from);
	if (len >= 8) {
		copy_8(to, from);
		len -= 8;
		to += 8;
		from += 8;
	}
	for (; len != 0; len--)
		*to++ = *from++;
}

static inline __attribute__((always_inline)) void
copy_down(uint8_t *to, const uint8_t *from, size_t len)
{
	to += len;
	from += len;
	for (; len >= STEP; len -= STEP) {
		to -= STEP;
		from -= STEP;
		copy_step(to, from);
	}
	for (; len >= 16; len -= 16) {
		to -= 16;
		from -= 16;
		copy_16(to, from);
	}
	if (len >= 8) {
		to -= 8;
		from -= 8;
		copy_8(to, from);
		len -= 8;
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
		for (size_t i = 0; i < STEP; i += 16)
			vst1q_u8(to + i, fill);
	}
	for (; len >= 16; len -= 16, to += 16)
		vst1q_u8(to, fill);
	if (len >= 8) {
		vst1_u8(to, vget_low_u8(fill));
		len -= 8;
		to += 8;
	}
	for (; len != 0; len--)
		*to++ = (uint8_t)value;
	return dest;
}
