/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AArch64 without dot products. Two blocks at a time: two products of each
 * lane are added in 16 bits, then pairwise to sums of 32 bits.
 */
#ifdef __aarch64__
#include "qs8_neon.h"

#define MOST_ROWS 4

INLINE int8x16_t four_times(const int8_t *p)
{
	int32_t word;

	__builtin_memcpy(&word, p, sizeof(word));
	return vreinterpretq_s8_s32(vdupq_n_s32(word));
}

/* sums[j] are lanes 2j and 2j + 1, in two parts each. */
INLINE void add_two_blocks(int32x4_t *sums, const int8_t *a, const int8x16_t *w)
{
	int8x16_t first = four_times(a);
	int8x16_t second = four_times(a + UC_QS8_BLOCK);

	UNROLL for (size_t j = 0; j < 2; j++)
	{
		int16x8_t low = vmull_s8(vget_low_s8(w[j]), vget_low_s8(first));
		int16x8_t high = vmull_high_s8(w[j], first);

		low = vmlal_s8(low, vget_low_s8(w[2 + j]), vget_low_s8(second));
		high = vmlal_high_s8(high, w[2 + j], second);
		sums[2 * j] = vpadalq_s16(sums[2 * j], low);
		sums[2 * j + 1] = vpadalq_s16(sums[2 * j + 1], high);
	}
}

INLINE void add_block(int32x4_t *sums, const int8_t *a, const int8x16_t *w)
{
	int8x16_t first = four_times(a);

	UNROLL for (size_t j = 0; j < 2; j++)
	{
		int16x8_t low = vmull_s8(vget_low_s8(w[j]), vget_low_s8(first));
		int16x8_t high = vmull_high_s8(w[j], first);

		sums[2 * j] = vpadalq_s16(sums[2 * j], low);
		sums[2 * j + 1] = vpadalq_s16(sums[2 * j + 1], high);
	}
}

INLINE const int8_t *add_tap(int32x4_t sums[MOST_ROWS][4], size_t rows,
			     const int8_t *const *from, size_t blocks,
			     const int8_t *w)
{
	const int8_t *a[MOST_ROWS];
	int8x16_t part[4];

	UNROLL for (size_t i = 0; i < rows; i++) a[i] = from[i];
	for (; blocks >= 2; blocks -= 2) {
		UNROLL for (size_t j = 0; j < 4; j++) part[j] =
			vld1q_s8(w + 16 * j);
		UNROLL for (size_t i = 0; i < rows; i++)
		{
			add_two_blocks(sums[i], a[i], part);
			a[i] += 2 * UC_QS8_BLOCK;
		}
		w += 2 * ROW_BYTES;
	}
	if (blocks) {
		part[0] = vld1q_s8(w);
		part[1] = vld1q_s8(w + 16);
		UNROLL for (size_t i = 0; i < rows; i++)
			add_block(sums[i], a[i], part);
		w += ROW_BYTES;
	}
	return w;
}

INLINE void gemm(const struct uc_qs8_gemm *g, size_t rows)
{
	const uint8_t *panel = g->panels;
	int32x4_t none = vdupq_n_s32(0);

	for (size_t n = 0; n < g->nc; n += LANES) {
		const int8_t *w = (const int8_t *)panel + HEAD_BYTES;
		struct store st = store_of(panel, &g->out);
		int32x4_t sums[MOST_ROWS][4];
		int8_t *c = g->c + n;

		UNROLL for (size_t i = 0; i < rows; i++)
		{
			UNROLL for (size_t j = 0; j < 4; j++) sums[i][j] = none;
		}
		for (size_t tap = 0; tap < g->taps; tap++)
			w = add_tap(sums, rows, g->a + tap * g->a_stride,
				    g->blocks, w);
		UNROLL for (size_t i = 0; i < rows; i++)
		{
			int32x4_t low = vpaddq_s32(sums[i][0], sums[i][1]);
			int32x4_t high = vpaddq_s32(sums[i][2], sums[i][3]);

			low = vaddq_s32(low, load_words(panel));
			high = vaddq_s32(high, load_words(panel + 16));
			store_lanes(rounded(&st, low, high), c, g->nc - n);
			c += g->c_stride;
		}
		panel = (const uint8_t *)w;
	}
}

static void gemm_4(const struct uc_qs8_gemm *g)
{
	gemm(g, 4);
}

static void gemm_2(const struct uc_qs8_gemm *g)
{
	gemm(g, 2);
}

static void gemm_1(const struct uc_qs8_gemm *g)
{
	gemm(g, 1);
}

static void dwconv(const struct uc_qs8_dwconv *d)
{
	dwconv_any(d);
}

const struct uc_qs8_kernels uc_qs8_mlal = {
	.rows = {{4, gemm_4}, {2, gemm_2}, {1, gemm_1}, {1, gemm_1}},
	.dwconv = dwconv,
};
#endif
