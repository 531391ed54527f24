/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix multiplication cut into tiles of rows. */
#include "uc_ops.h"

const struct uc_row_kernel *uc_op_row_tile(size_t left, size_t *rows)
{
	const struct uc_row_kernel *kernel = &uc_kernels.rows[0];
	const struct uc_row_kernel *next = &uc_kernels.rows[1];

	/* Two tiles of the next size waste less than one whole tile and a
	 * remainder that would nearly fill neither (8 = 4 + 4, not 6 + 2). */
	if (left > kernel->rows + 1 && left <= 2 * next->rows) {
		*rows = next->rows;
		return next;
	}
	if (left >= kernel->rows) {
		*rows = kernel->rows;
		return kernel;
	}
	while (kernel->rows > 1 && kernel[1].rows >= left)
		kernel++;
	*rows = left;
	return kernel;
}

void uc_op_gemm(const struct uc_op_gemm *g)
{
	const float *in = g->in;
	float *out = g->out;
	size_t rows = 0;

	for (size_t left = g->rows; left; left -= rows) {
		const struct uc_row_kernel *kernel =
			uc_op_row_tile(left, &rows);

		kernel->gemm(rows, g->nc, g->k * sizeof(float), in,
			     g->in_stride * sizeof(float), g->weights, out,
			     g->out_stride * sizeof(float),
			     UC_PANEL_CHANNEL_BYTES, &g->act);
		in += rows * g->in_stride;
		out += rows * g->out_stride;
	}
}
