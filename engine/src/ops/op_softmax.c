/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax over the channels, with the row's maximum taken off first. */
#include "uc_ops.h"

static bool softmax_check(const struct uc_op_shapes *s)
{
	return uc_op_elementwise_ok(s) && uc_op_pixels_even(s->a) &&
	       uc_op_pixels_even(s->out);
}

static void softmax_run(const struct uc_op_step *step)
{
	size_t rows = uc_op_rows(step->s.a);
	size_t channels = step->s.a->c;
	size_t bytes = channels * sizeof(float);
	struct uc_minmax act = uc_op_act(step->s.op);

	for (size_t i = 0; i < rows; i++) {
		const float *x = step->a + i * step->s.a->stride_w;
		float *out = step->out + i * step->s.out->stride_w;
		float max = 0.0f;
		float sum = 0.0f;
		float scale = 0.0f;

		uc_kernels.max(bytes, x, &max, NULL);
		uc_kernels.exp(bytes, x, &max, out, &sum, NULL);
		scale = 1.0f / sum;
		uc_kernels.mul.scalar(bytes, out, &scale, out, &act);
	}
}

const struct uc_op_type uc_op_softmax = {
	.code = UC_OP_SOFTMAX,
	.elementwise = true,
	.check = softmax_check,
	.panels = uc_op_no_panels,
	.scratch = uc_op_no_scratch,
	.run = softmax_run,
};
