/* SPDX-License-Identifier: Apache-2.0 */
/* Plain C: for hosts that are no AArch64, and what the others must equal. */
#include "qs8.h"

#include "qs8_round.h"
#include "uc_spec.h"

#define LANES UC_PANEL_CHANNELS
#define BLOCK UC_QS8_BLOCK
#define HEAD_BYTES (8 * LANES)

/* Bias and weights may be anything: sums wrap as those of a vector do. */
static inline void add(int32_t *sum, int32_t product)
{
	*sum = (int32_t)((uint32_t)*sum + (uint32_t)product);
}

static void add_row(int32_t *sums, const struct uc_qs8_gemm *g, size_t row,
		    const int8_t *weights)
{
	for (size_t tap = 0; tap < g->taps; tap++) {
		const int8_t *a = g->a[tap * g->a_stride + row];

		for (size_t block = 0; block < g->blocks; block++) {
			for (size_t lane = 0; lane < LANES; lane++) {
				for (size_t i = 0; i < BLOCK; i++)
					add(&sums[lane],
					    a[i] * weights[lane * BLOCK + i]);
			}
			a += BLOCK;
			weights += LANES * BLOCK;
		}
	}
}

static void gemm(const struct uc_qs8_gemm *g)
{
	size_t panel_bytes = HEAD_BYTES + g->taps * g->blocks * LANES * BLOCK;
	const uint8_t *panel = g->panels;

	for (size_t n = 0; n < g->nc; n += LANES, panel += panel_bytes) {
		size_t lanes = g->nc - n < LANES ? g->nc - n : LANES;

		for (size_t row = 0; row < g->rows; row++) {
			int32_t sums[LANES];

			__builtin_memcpy(sums, panel, sizeof(sums));
			add_row(sums, g, row,
				(const int8_t *)panel + HEAD_BYTES);
			uc_qs8_store(sums, panel + sizeof(sums), &g->out, lanes,
				     g->c + row * g->c_stride + n);
		}
	}
}

static void dwconv(const struct uc_qs8_dwconv *d)
{
	for (size_t pixel = 0; pixel < d->pixels; pixel++) {
		const int8_t *const *a = d->a + pixel * d->taps;
		const uint8_t *panel = d->panels;

		for (size_t n = 0; n < d->channels; n += LANES) {
			size_t lanes = d->channels - n < LANES ? d->channels - n
							       : LANES;
			const int8_t *w = (const int8_t *)panel + HEAD_BYTES;
			int32_t sums[LANES];

			__builtin_memcpy(sums, panel, sizeof(sums));
			for (size_t tap = 0; tap < d->taps; tap++) {
				const int8_t *in = a[tap] + d->first + n;

				for (size_t lane = 0; lane < lanes; lane++)
					add(&sums[lane], in[lane] * w[lane]);
				w += LANES;
			}
			uc_qs8_store(sums, panel + sizeof(sums), &d->out, lanes,
				     d->c + pixel * d->c_stride + n);
			panel += d->panel_bytes;
		}
	}
}

const struct uc_qs8_kernels uc_qs8_scalar = {
	.rows = {{8, gemm}, {4, gemm}, {2, gemm}, {1, gemm}},
	.dwconv = dwconv,
};
