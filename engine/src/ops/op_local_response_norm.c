/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LOCAL_RESPONSE_NORM: a (1 + alpha * sum of squares)^-beta, the sum over
 * kernel_w channels around each. May run in place.
 */
#include "functions.h"
#include "uc_ops.h"

static bool norm_check(const struct uc_op_shapes *s)
{
	const struct uc_op *op = s->op;

	return uc_op_elementwise_ok(s) && uc_op_pixels_even(s->a) &&
	       uc_op_pixels_even(s->out) && op->kernel_h == 1 &&
	       op->kernel_w >= 1 && op->kernel_w <= UC_MAX_KERNEL_SIZE &&
	       op->alpha >= 0.0f && op->alpha - op->alpha == 0.0f &&
	       op->beta - op->beta == 0.0f;
}

/* The squares of a row, with zeros on both sides for the window's ends. */
static uint64_t norm_scratch(const struct uc_op_shapes *s)
{
	return uc_op_align(
		sizeof(float) * ((uint64_t)s->a->c + s->op->kernel_w) + 64);
}

UC_VEC_INLINE uc_vec power_of(uc_vec x, float exponent)
{
	if (exponent == -0.75f) {
		uc_vec root = uc_sqrt(x);

		return 1.0f / (root * uc_sqrt(root));
	}
	if (exponent == -0.5f)
		return 1.0f / uc_sqrt(x);
	return uc_power(x, uc_vec_all(exponent));
}

static void norm_row(const struct uc_op *op, const float *squares, size_t count,
		     const float *x, float *out)
{
	size_t size = op->kernel_w;

	for (size_t i = 0; i < count; i += UC_VEC_FLOATS) {
		uc_vec sum = uc_vec_all(0.0f);
		uc_vec y;

		for (size_t k = 0; k < size; k++)
			sum += uc_vec_load(squares + i + k);
		y = uc_vec_load(x + i) *
		    power_of(uc_fma_const(sum, uc_vec_all(op->alpha), 1.0f),
			     -op->beta);
		if (count - i < UC_VEC_FLOATS)
			uc_vec_store_some(out + i, y, count - i);
		else
			uc_vec_store(out + i, y);
	}
	uc_op_apply_act(op, out, count);
}

static void norm_run(const struct uc_op_step *step)
{
	const struct uc_tensor *a = step->s.a;
	const struct uc_op *op = step->s.op;
	size_t rows = uc_op_rows(a);
	size_t before = (op->kernel_w - 1U) / 2U;
	float *squares = (float *)(void *)step->scratch;

	__builtin_memset(squares, 0, norm_scratch(&step->s));
	for (size_t row = 0; row < rows; row++) {
		const float *x = step->a + row * a->stride_w;

		for (size_t c = 0; c < a->c; c++)
			squares[before + c] = x[c] * x[c];
		norm_row(op, squares, a->c, x,
			 step->out + row * step->s.out->stride_w);
	}
}

const struct uc_op_type uc_op_local_response_norm = {
	.code = UC_OP_LOCAL_RESPONSE_NORM,
	.elementwise = true,
	.check = norm_check,
	.panels = uc_op_no_panels,
	.scratch = norm_scratch,
	.run = norm_run,
};
