/* SPDX-License-Identifier: Apache-2.0 */
/* CLAMP, HARD_SIGMOID, HARD_SWISH. All may run in place. */
#include "uc_ops.h"

#define SIGMOID_ROW 64 /* floats to a call of a kernel that works by rows */

/* With other dimensions of as many elements it reshapes. */
static bool clamp_check(const struct uc_op_shapes *s)
{
	if (uc_op_elementwise_ok(s))
		return true;
	return uc_op_unary_ok(s) && uc_op_dense_ok(s->a) &&
	       uc_op_dense_ok(s->out) &&
	       uc_op_elements(s->a) == uc_op_elements(s->out);
}

static void clamp_elements(const void *context, size_t count, const float *in,
			   float *out)
{
	uc_kernels.clamp(count * sizeof(float), in, out, context);
}

static void copy_elements(const void *context, size_t count, const float *in,
			  float *out)
{
	(void)context;
	__builtin_memcpy(out, in, count * sizeof(float));
}

static void clamp_run(const struct uc_op_step *step)
{
	struct uc_minmax act = uc_op_act(step->s.op);
	uc_op_run_fn *run = clamp_elements;

	if (!uc_op_has_act(step->s.op)) {
		if (step->a == step->out) /* a reshape in place */
			return;
		run = copy_elements;
	}
	if (uc_op_same_shape(step->s.a, step->s.out))
		uc_op_for_runs(step->s.a, step->a, step->s.out, step->out, run,
			       &act);
	else
		run(&act, uc_op_elements(step->s.a), step->a, step->out);
}

const struct uc_op_type uc_op_clamp = {
	.code = UC_OP_CLAMP,
	.elementwise = true,
	.check = clamp_check,
	.panels = uc_op_no_panels,
	.scratch = uc_op_no_scratch,
	.run = clamp_run,
};

static bool hard_sigmoid_check(const struct uc_op_shapes *s)
{
	/* False for NaN; an infinite slope has no meaning at 0. */
	return uc_op_elementwise_ok(s) && s->op->alpha - s->op->alpha == 0.0f &&
	       s->op->beta - s->op->beta == 0.0f;
}

static float clamp_one(float x, struct uc_minmax act)
{
	x = x < act.min ? act.min : x;
	return x > act.max ? act.max : x;
}

static void hard_sigmoid_elements(const void *context, size_t count,
				  const float *in, float *out)
{
	const struct uc_op *op = context;
	struct uc_minmax fused = uc_op_act(op);
	/* Clamping to [0, 1] and then to the fused range is one clamp. */
	struct uc_minmax act = {
		.min = clamp_one(0.0f, fused),
		.max = clamp_one(1.0f, fused),
	};

	float weights[2 * SIGMOID_ROW] = {0};
	size_t done = count / SIGMOID_ROW * SIGMOID_ROW;
	size_t row_bytes = SIGMOID_ROW * sizeof(float);

	for (size_t i = 0; i < 2 * SIGMOID_ROW; i++)
		weights[i] = i % 8 < 4 ? op->alpha : op->beta;
	if (done)
		uc_kernels.scale_bias(done / SIGMOID_ROW, row_bytes, in,
				      row_bytes, weights, out, row_bytes, &act);
	if (count > done)
		uc_kernels.scale_bias(1, (count - done) * sizeof(float),
				      in + done, row_bytes, weights, out + done,
				      row_bytes, &act);
}

static void hard_sigmoid_run(const struct uc_op_step *step)
{
	uc_op_for_runs(step->s.a, step->a, step->s.out, step->out,
		       hard_sigmoid_elements, step->s.op);
}

const struct uc_op_type uc_op_hard_sigmoid = {
	.code = UC_OP_HARD_SIGMOID,
	.elementwise = true,
	.check = hard_sigmoid_check,
	.panels = uc_op_no_panels,
	.scratch = uc_op_no_scratch,
	.run = hard_sigmoid_run,
};

static void hard_swish_elements(const void *context, size_t count,
				const float *in, float *out)
{
	uc_kernels.hard_swish(count * sizeof(float), in, out, NULL);
	uc_op_apply_act(context, out, count);
}

static void hard_swish_run(const struct uc_op_step *step)
{
	uc_op_for_runs(step->s.a, step->a, step->s.out, step->out,
		       hard_swish_elements, step->s.op);
}

const struct uc_op_type uc_op_hard_swish = {
	.code = UC_OP_HARD_SWISH,
	.elementwise = true,
	.check = uc_op_elementwise_ok,
	.panels = uc_op_no_panels,
	.scratch = uc_op_no_scratch,
	.run = hard_swish_run,
};
