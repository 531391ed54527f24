/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two AArch64 forms share: storing eight sums, and depthwise
 * convolution, which has no use for dot products.
 */
#ifndef UC_QS8_NEON_H
#define UC_QS8_NEON_H

#include <arm_neon.h>
#include <stdbool.h>

#include "qs8.h"
#include "uc_spec.h"

#define LANES UC_PANEL_CHANNELS
#define HEAD_BYTES (8 * LANES)
#define ROW_BYTES (LANES * UC_QS8_BLOCK) /* a block of all lanes */
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

/* A panel's multipliers and the output's bounds, in registers. */
struct store {
	float32x4_t low, high;
	int16x8_t zero;
	int8x8_t min, max;
};

INLINE struct store store_of(const uint8_t *panel, const struct uc_qs8_out *out)
{
	struct store st = {
		.low = vreinterpretq_f32_u8(vld1q_u8(panel + 32)),
		.high = vreinterpretq_f32_u8(vld1q_u8(panel + 48)),
		.zero = vdupq_n_s16((int16_t)out->zero),
		.min = vdup_n_s8((int8_t)out->min),
		.max = vdup_n_s8((int8_t)out->max),
	};

	return st;
}

INLINE int8x8_t rounded(const struct store *st, int32x4_t low, int32x4_t high)
{
	int16x8_t sums;

	low = vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(low), st->low));
	high = vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(high), st->high));
	sums = vqmovn_high_s32(vqmovn_s32(low), high);
	return vmin_s8(vmax_s8(vqmovn_s16(vqaddq_s16(sums, st->zero)), st->min),
		       st->max);
}

INLINE void store_lanes(int8x8_t x, int8_t *c, size_t lanes)
{
	int8_t whole[LANES];

	if (lanes >= LANES) {
		vst1_s8(c, x);
		return;
	}
	vst1_s8(whole, x);
	for (size_t i = 0; i < lanes; i++)
		c[i] = whole[i];
}

INLINE int32x4_t load_words(const uint8_t *p)
{
	return vreinterpretq_s32_u8(vld1q_u8(p));
}

#define HELD_TAPS 9

/* Two products fit into 16 bits, since no weight is -128. */
INLINE void dwconv_pixel(const struct uc_qs8_dwconv *d, size_t taps,
			 const int8_t *const *a, size_t n, const int8x8_t *held,
			 const int8_t *w, int32x4_t *low, int32x4_t *high)
{
	size_t tap = 0;

	UNROLL for (; tap + 2 <= taps; tap += 2)
	{
		int8x8_t w0 = held ? held[tap] : vld1_s8(w + tap * LANES);
		int8x8_t w1 =
			held ? held[tap + 1] : vld1_s8(w + (tap + 1) * LANES);
		int16x8_t sum = vmull_s8(vld1_s8(a[tap] + d->first + n), w0);

		sum = vmlal_s8(sum, vld1_s8(a[tap + 1] + d->first + n), w1);
		*low = vaddw_s16(*low, vget_low_s16(sum));
		*high = vaddw_high_s16(*high, sum);
	}
	if (tap < taps) {
		int8x8_t w0 = held ? held[tap] : vld1_s8(w + tap * LANES);
		int16x8_t sum = vmull_s8(vld1_s8(a[tap] + d->first + n), w0);

		*low = vaddw_s16(*low, vget_low_s16(sum));
		*high = vaddw_high_s16(*high, sum);
	}
}

/* taps is a constant where it is called with one. */
INLINE void dwconv_taps(const struct uc_qs8_dwconv *d, size_t taps, bool hold,
			size_t from)
{
	const uint8_t *panel = d->panels + from / LANES * d->panel_bytes;

	for (size_t n = from; n < d->channels; n += LANES) {
		size_t lanes =
			d->channels - n < LANES ? d->channels - n : LANES;
		const int8_t *w = (const int8_t *)panel + HEAD_BYTES;
		struct store st = store_of(panel, &d->out);
		int32x4_t bias_low = load_words(panel);
		int32x4_t bias_high = load_words(panel + 16);
		const int8_t *const *a = d->a;
		int8_t *c = d->c + n;
		int8x8_t held[HELD_TAPS];

		if (hold) {
			UNROLL for (size_t i = 0; i < HELD_TAPS; i++) held[i] =
				vld1_s8(w + i * LANES);
		}
		for (size_t pixel = 0; pixel < d->pixels; pixel++) {
			int32x4_t low = bias_low, high = bias_high;

			dwconv_pixel(d, taps, a, n, hold ? held : NULL, w, &low,
				     &high);
			store_lanes(rounded(&st, low, high), c, lanes);
			a += taps;
			c += d->c_stride;
		}
		panel += d->panel_bytes;
	}
}

/* Two panels of nine taps at once: half the pointers are loaded. */
INLINE void dwconv_pair(const struct uc_qs8_dwconv *d, size_t n,
			const uint8_t *panel)
{
	const uint8_t *second = panel + d->panel_bytes;
	const int8_t *w0 = (const int8_t *)panel + HEAD_BYTES;
	const int8_t *w1 = (const int8_t *)second + HEAD_BYTES;
	struct store st0 = store_of(panel, &d->out);
	struct store st1 = store_of(second, &d->out);
	const int8_t *const *a = d->a;
	size_t channel = d->first + n;
	int8_t *c = d->c + n;
	int8x16_t held[HELD_TAPS];

	UNROLL for (size_t i = 0; i < HELD_TAPS; i++) held[i] =
		vcombine_s8(vld1_s8(w0 + i * LANES), vld1_s8(w1 + i * LANES));
	for (size_t pixel = 0; pixel < d->pixels; pixel++) {
		int32x4_t s0 = load_words(panel), s1 = load_words(panel + 16);
		int32x4_t s2 = load_words(second);
		int32x4_t s3 = load_words(second + 16);

		UNROLL for (size_t tap = 0; tap < HELD_TAPS; tap += 2)
		{
			int8x16_t x = vld1q_s8(a[tap] + channel);
			int16x8_t low = vmull_s8(vget_low_s8(x),
						 vget_low_s8(held[tap]));
			int16x8_t high = vmull_high_s8(x, held[tap]);

			if (tap + 1 < HELD_TAPS) {
				x = vld1q_s8(a[tap + 1] + channel);
				low = vmlal_s8(low, vget_low_s8(x),
					       vget_low_s8(held[tap + 1]));
				high = vmlal_high_s8(high, x, held[tap + 1]);
			}
			s0 = vaddw_s16(s0, vget_low_s16(low));
			s1 = vaddw_high_s16(s1, low);
			s2 = vaddw_s16(s2, vget_low_s16(high));
			s3 = vaddw_high_s16(s3, high);
		}
		vst1q_s8(c, vcombine_s8(rounded(&st0, s0, s1),
					rounded(&st1, s2, s3)));
		a += HELD_TAPS;
		c += d->c_stride;
	}
}

INLINE void dwconv_any(const struct uc_qs8_dwconv *d)
{
	const uint8_t *panel = d->panels;
	size_t n = 0;

	if (d->taps != HELD_TAPS) {
		dwconv_taps(d, d->taps, false, 0);
		return;
	}
	for (; n + 2 * LANES <= d->channels; n += 2 * LANES) {
		dwconv_pair(d, n, panel);
		panel += 2 * d->panel_bytes;
	}
	dwconv_taps(d, HELD_TAPS, true, n);
}

#endif /* UC_QS8_NEON_H */
