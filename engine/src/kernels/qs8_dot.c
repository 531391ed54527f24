/* SPDX-License-Identifier: Apache-2.0 */
/* AArch64 with dot products (Armv8.2 and later, Cortex-A76 for example). */
#ifdef __aarch64__
#pragma GCC target("arch=armv8.2-a+dotprod")
#include "qs8_neon.h"

#define MOST_ROWS 8
#define QUAD 4 /* blocks that one load of a row brings */

/* Block `lane` of every row, with the weights of eight channels. */
#define ADD_LANE(lane)                                                         \
	do {                                                                   \
		int8x16_t low = vld1q_s8(w + (lane) * ROW_BYTES);              \
		int8x16_t high = vld1q_s8(w + (lane) * ROW_BYTES + 16);        \
		UNROLL for (size_t i = 0; i < rows; i++)                       \
		{                                                              \
			sums[i][0] =                                           \
				vdotq_laneq_s32(sums[i][0], low, x[i], lane);  \
			sums[i][1] =                                           \
				vdotq_laneq_s32(sums[i][1], high, x[i], lane); \
		}                                                              \
	} while (0)

INLINE const int8_t *add_tap(int32x4_t sums[MOST_ROWS][2], size_t rows,
			     const int8_t *const *from, size_t blocks,
			     const int8_t *w)
{
	const int8_t *a[MOST_ROWS];
	int8x16_t x[MOST_ROWS];
	size_t at = 0;

	UNROLL for (size_t i = 0; i < rows; i++) a[i] = from[i];
	for (; blocks >= QUAD; blocks -= QUAD) {
		UNROLL for (size_t i = 0; i < rows; i++) x[i] =
			vld1q_s8(a[i] + at);
		ADD_LANE(0);
		ADD_LANE(1);
		ADD_LANE(2);
		ADD_LANE(3);
		at += QUAD * UC_QS8_BLOCK;
		w += QUAD * ROW_BYTES;
	}
	for (; blocks; blocks--) {
		UNROLL for (size_t i = 0; i < rows; i++)
		{
			int32_t word;

			__builtin_memcpy(&word, a[i] + at, sizeof(word));
			x[i] = vreinterpretq_s8_s32(vdupq_n_s32(word));
		}
		ADD_LANE(0);
		at += UC_QS8_BLOCK;
		w += ROW_BYTES;
	}
	return w;
}

INLINE void gemm(const struct uc_qs8_gemm *g, size_t rows)
{
	const uint8_t *panel = g->panels;

	for (size_t n = 0; n < g->nc; n += LANES) {
		const int8_t *w = (const int8_t *)panel + HEAD_BYTES;
		struct store st = store_of(panel, &g->out);
		int32x4_t sums[MOST_ROWS][2];
		int8_t *c = g->c + n;

		UNROLL for (size_t i = 0; i < rows; i++)
		{
			sums[i][0] = load_words(panel);
			sums[i][1] = load_words(panel + 16);
		}
		for (size_t tap = 0; tap < g->taps; tap++)
			w = add_tap(sums, rows, g->a + tap * g->a_stride,
				    g->blocks, w);
		UNROLL for (size_t i = 0; i < rows; i++)
		{
			store_lanes(rounded(&st, sums[i][0], sums[i][1]), c,
				    g->nc - n);
			c += g->c_stride;
		}
		panel = (const uint8_t *)w;
	}
}

static void gemm_8(const struct uc_qs8_gemm *g)
{
	gemm(g, 8);
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

const struct uc_qs8_kernels uc_qs8_dot = {
	.rows = {{8, gemm_8}, {4, gemm_4}, {2, gemm_2}, {1, gemm_1}},
	.dwconv = dwconv,
};
#endif
