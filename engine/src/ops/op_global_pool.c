/* SPDX-License-Identifier: Apache-2.0 */
#include "uc_ops.h"

/* The kernel counts rows in an int. */
#define MAX_ROWS (UINT64_C(1) << 30)

static bool global_average_pool_check(const struct uc_op_shapes *s)
{
	return uc_op_unary_ok(s) && s->out->n == s->a->n && s->out->h == 1 &&
	       s->out->w == 1 && s->out->c == s->a->c &&
	       (uint64_t)s->a->h * s->a->w <= MAX_ROWS;
}

static uint64_t zero_bytes(const struct uc_op_shapes *s)
{
	return uc_op_align(sizeof(float) * s->a->c + 64);
}

static uint64_t global_average_pool_scratch(const struct uc_op_shapes *s)
{
	return 2 * zero_bytes(s);
}

static void global_average_pool_run(const struct uc_op_step *step)
{
	const struct uc_tensor *a = step->s.a;
	bool even = a->h == 1 || a->stride_h == a->w * a->stride_w;
	size_t rows = even ? (size_t)a->h * a->w : a->w;
	size_t runs = even ? 1 : a->h;
	size_t channels = a->c;
	float scale = 1.0f / (float)((size_t)a->h * a->w);
	const float *zero = (const float *)(const void *)step->scratch;

	__builtin_memset(step->scratch, 0, zero_bytes(&step->s));
	for (size_t n = 0; n < a->n; n++) {
		const float *in = step->a + n * a->stride_n;
		float *out = step->out + n * step->s.out->stride_n;

		/* The kernel adds to what is there. */
		__builtin_memset(out, 0, channels * sizeof(float));
		for (size_t i = 0; i < runs; i++, in += a->stride_h)
			uc_kernels.column_sum(rows, channels, in,
					      a->stride_w * sizeof(float), zero,
					      out, &scale);
	}
	uc_op_apply_act_to(step->s.op, step->s.out, step->out);
}

const struct uc_op_type uc_op_global_average_pool = {
	.code = UC_OP_GLOBAL_AVERAGE_POOL,
	.check = global_average_pool_check,
	.panels = uc_op_no_panels,
	.scratch = global_average_pool_scratch,
	.run = global_average_pool_run,
};
