/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MATRIX_MULTIPLY: w x c matrices of a times those of b, for every n and h.
 * Eight columns of b are packed at a time as weights are, so the kernels are
 * those of FULLY_CONNECTED.
 */
#include "uc_ops.h"

static bool broadcast_ok(uint32_t one, uint32_t out)
{
	return one == out || one == 1;
}

static bool multiply_check(const struct uc_op_shapes *s)
{
	const struct uc_tensor *a = s->a;
	const struct uc_tensor *b = s->b;
	const struct uc_tensor *out = s->out;
	bool turned = s->op->flags & UC_OP_FLAG_TRANSPOSED;

	if (!uc_op_act_ok(s->op) || !uc_op_tensor_ok(a) ||
	    !uc_op_tensor_ok(b) || !uc_op_tensor_ok(out) ||
	    !uc_op_dense_ok(a) || !uc_op_dense_ok(b) || !uc_op_dense_ok(out))
		return false;
	return broadcast_ok(a->n, out->n) && broadcast_ok(b->n, out->n) &&
	       (a->n == out->n || b->n == out->n) &&
	       broadcast_ok(a->h, out->h) && broadcast_ok(b->h, out->h) &&
	       (a->h == out->h || b->h == out->h) && out->w == a->w &&
	       a->c == (turned ? b->c : b->w) &&
	       out->c == (turned ? b->w : b->c);
}

static uint64_t multiply_scratch(const struct uc_op_shapes *s)
{
	return uc_op_align(UC_PANEL_CHANNEL_BYTES * (1 + (uint64_t)s->a->c));
}

/* Columns of a matrix of k rows; those beyond the last are zero. */
static void pack_columns(const float *b, size_t k, size_t stride,
			 size_t columns, float *panel)
{
	for (size_t row = 0; row < k; row++, b += stride) {
		panel += UC_PANEL_CHANNELS;
		for (size_t i = 0; i < UC_PANEL_CHANNELS; i++)
			panel[i] = i < columns ? b[i] : 0.0f;
	}
}

static void pack_whole_columns(const float *b, size_t k, size_t stride,
			       float *panel)
{
	for (size_t row = 0; row < k; row++, b += stride) {
		panel += UC_PANEL_CHANNELS;
		__builtin_memcpy(panel, b, UC_PANEL_CHANNEL_BYTES);
	}
}

/* The same of the transposed matrix: its rows are the columns. */
static void pack_rows(const float *b, size_t k, size_t columns, float *panel)
{
	panel += UC_PANEL_CHANNELS;
	if (columns < UC_PANEL_CHANNELS)
		__builtin_memset(panel, 0, k * UC_PANEL_CHANNEL_BYTES);
	uc_kernels.transpose((const uint32_t *)(const void *)b,
			     (uint32_t *)(void *)panel, k * sizeof(float),
			     UC_PANEL_CHANNEL_BYTES, k, columns);
}

static void multiply_one(const struct uc_op_step *step, const float *a,
			 const float *b, float *out)
{
	const struct uc_tensor *shape = step->s.out;
	float *panel = (float *)(void *)step->scratch;
	bool turned = step->s.op->flags & UC_OP_FLAG_TRANSPOSED;
	size_t k = step->s.a->c;
	struct uc_op_gemm gemm = {
		.rows = shape->w,
		.k = k,
		.in = a,
		.in_stride = k,
		.weights = panel,
		.out_stride = shape->c,
		.act = uc_op_act(step->s.op),
	};

	for (size_t c = 0; c < shape->c; c += UC_PANEL_CHANNELS) {
		gemm.nc = shape->c - c < UC_PANEL_CHANNELS ? shape->c - c
							   : UC_PANEL_CHANNELS;
		gemm.out = out + c;
		if (turned)
			pack_rows(b + c * k, k, gemm.nc, panel);
		else if (gemm.nc == UC_PANEL_CHANNELS)
			pack_whole_columns(b + c, k, shape->c, panel);
		else
			pack_columns(b + c, k, shape->c, gemm.nc, panel);
		uc_op_gemm(&gemm);
	}
}

static void multiply_run(const struct uc_op_step *step)
{
	const struct uc_tensor *a = step->s.a;
	const struct uc_tensor *b = step->s.b;
	const struct uc_tensor *out = step->s.out;

	/* No bias. */
	__builtin_memset(step->scratch, 0, UC_PANEL_CHANNEL_BYTES);
	for (size_t n = 0; n < out->n; n++) {
		size_t a_n = a->n == 1 ? 0 : n;
		size_t b_n = b->n == 1 ? 0 : n;

		for (size_t h = 0; h < out->h; h++) {
			size_t a_h = a->h == 1 ? 0 : h;
			size_t b_h = b->h == 1 ? 0 : h;

			multiply_one(
				step,
				step->a + a_n * a->stride_n + a_h * a->stride_h,
				step->b + b_n * b->stride_n + b_h * b->stride_h,
				step->out + n * out->stride_n +
					h * out->stride_h);
		}
	}
}

const struct uc_op_type uc_op_matrix_multiply = {
	.code = UC_OP_MATRIX_MULTIPLY,
	.second_input = true,
	.flags = UC_OP_FLAG_TRANSPOSED,
	.check = multiply_check,
	.panels = uc_op_no_panels,
	.scratch = multiply_scratch,
	.run = multiply_run,
};
