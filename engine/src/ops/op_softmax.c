/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax over the channels, with the row's maximum taken off first. */
#include "functions.h"
#include "uc_ops.h"

#define CHUNK 256 /* floats of a row whose exponentials are only added up */

static bool softmax_check(const struct uc_op_shapes *s)
{
	return uc_op_elementwise_ok(s) && s->op->function <= UC_SOFTMAX_LOG &&
	       uc_op_pixels_even(s->a) && uc_op_pixels_even(s->out);
}

static float log_of_sum(const float *x, size_t count, float max)
{
	float powers[CHUNK + UC_VEC_FLOATS];
	float total = 0.0f;

	for (size_t i = 0; i < count; i += CHUNK) {
		size_t part = count - i < CHUNK ? count - i : CHUNK;
		float sum = 0.0f;

		uc_kernels.exp(part * sizeof(float), x + i, &max, powers, &sum,
			       NULL);
		total += sum;
	}
	return uc_log(uc_vec_all(total))[0];
}

static void softmax_run(const struct uc_op_step *step)
{
	size_t rows = uc_op_rows(step->s.a);
	size_t channels = step->s.a->c;
	size_t bytes = channels * sizeof(float);
	const struct uc_minmax none = {-__builtin_inff(), __builtin_inff()};
	struct uc_minmax act = uc_op_act(step->s.op);

	for (size_t i = 0; i < rows; i++) {
		const float *x = step->a + i * step->s.a->stride_w;
		float *out = step->out + i * step->s.out->stride_w;
		float max = 0.0f;
		float sum = 0.0f;
		float scale = 0.0f;

		uc_kernels.max(bytes, x, &max, NULL);
		if (step->s.op->function == UC_SOFTMAX_LOG) {
			scale = log_of_sum(x, channels, max);
			uc_kernels.sub.scalar(bytes, x, &max, out, &none);
			uc_kernels.sub.scalar(bytes, out, &scale, out, &act);
			continue;
		}
		uc_kernels.exp(bytes, x, &max, out, &sum, NULL);
		scale = 1.0f / sum;
		uc_kernels.mul.scalar(bytes, out, &scale, out, &act);
	}
}

const struct uc_op_type uc_op_softmax = {
	.code = UC_OP_SOFTMAX,
	.elementwise = true,
	.has_functions = true,
	.check = softmax_check,
	.panels = uc_op_no_panels,
	.scratch = uc_op_no_scratch,
	.run = softmax_run,
};
