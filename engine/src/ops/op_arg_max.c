/* SPDX-License-Identifier: Apache-2.0 */
/* ARG_MAX: the first index of the largest element of each row of channels. */
#include "uc_ops.h"
#include "vec_math.h"

static bool arg_max_check(const struct uc_op_shapes *s)
{
	return uc_op_unary_ok(s) && uc_op_pixels_even(s->a) &&
	       uc_op_pixels_even(s->out) && s->out->n == s->a->n &&
	       s->out->h == s->a->h && s->out->w == s->a->w && s->out->c == 1;
}

/* In a row of NaN there is none: 0. */
static size_t first_of(const float *x, size_t count, float value)
{
	uc_vec wanted = uc_vec_all(value);
	size_t i = 0;

	for (; i + UC_VEC_FLOATS <= count; i += UC_VEC_FLOATS) {
		uc_ints found = uc_vec_load(x + i) == wanted;

		if (found[0] | found[1] | found[2] | found[3])
			break;
	}
	while (i < count && x[i] != value)
		i++;
	return i < count ? i : 0;
}

static void arg_max_run(const struct uc_op_step *step)
{
	const struct uc_tensor *a = step->s.a;
	size_t rows = uc_op_rows(a);

	for (size_t i = 0; i < rows; i++) {
		const float *x = step->a + i * a->stride_w;
		float most = uc_op_reduce_run(UC_REDUCE_MAX, x, a->c);

		step->out[i * step->s.out->stride_w] =
			(float)first_of(x, a->c, most);
	}
	uc_op_apply_act_to(step->s.op, step->s.out, step->out);
}

const struct uc_op_type uc_op_arg_max = {
	.code = UC_OP_ARG_MAX,
	.check = arg_max_check,
	.panels = uc_op_no_panels,
	.scratch = uc_op_no_scratch,
	.run = arg_max_run,
};
