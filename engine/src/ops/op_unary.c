/* SPDX-License-Identifier: Apache-2.0 */
/* CLAMP, HARD_SIGMOID, HARD_SWISH. All may run in place. */
#include "uc_ops.h"

#define SIGMOID_ROW 64 /* floats to a call of a kernel that works by rows */

/* With other dimensions of as many elements it reshapes. */
static bool clamp_check(const struct uc_op_shapes *s)
{
	return uc_op_unary_ok(s) &&
	       uc_op_elements(s->a) == uc_op_elements(s->out);
}

static void clamp_run(const struct uc_op_step *step)
{
	struct uc_minmax act = uc_op_act(step->s.op);

	/* A reshape in place. */
	if (step->a == step->out && !uc_op_has_act(step->s.op))
		return;
	uc_kernels.clamp(uc_op_elements(step->s.a) * sizeof(float), step->a,
			 step->out, &act);
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

static void hard_sigmoid_run(const struct uc_op_step *step)
{
	const struct uc_op *op = step->s.op;
	struct uc_minmax fused = uc_op_act(op);
	/* Clamping to [0, 1] and then to the fused range is one clamp. */
	struct uc_minmax act = {
		.min = clamp_one(0.0f, fused),
		.max = clamp_one(1.0f, fused),
	};

	float weights[2 * SIGMOID_ROW] = {0};
	size_t count = uc_op_elements(step->s.a);
	size_t done = count / SIGMOID_ROW * SIGMOID_ROW;
	size_t row_bytes = SIGMOID_ROW * sizeof(float);

	for (size_t i = 0; i < 2 * SIGMOID_ROW; i++)
		weights[i] = i % 8 < 4 ? op->alpha : op->beta;
	if (done)
		uc_kernels.scale_bias(done / SIGMOID_ROW, row_bytes, step->a,
				      row_bytes, weights, step->out, row_bytes,
				      &act);
	if (count > done)
		uc_kernels.scale_bias(1, (count - done) * sizeof(float),
				      step->a + done, row_bytes, weights,
				      step->out + done, row_bytes, &act);
}

const struct uc_op_type uc_op_hard_sigmoid = {
	.code = UC_OP_HARD_SIGMOID,
	.elementwise = true,
	.check = hard_sigmoid_check,
	.panels = uc_op_no_panels,
	.scratch = uc_op_no_scratch,
	.run = hard_sigmoid_run,
};

static void hard_swish_run(const struct uc_op_step *step)
{
	size_t count = uc_op_elements(step->s.a);

	uc_kernels.hard_swish(count * sizeof(float), step->a, step->out, NULL);
	uc_op_apply_act(step->s.op, step->out, count);
}

const struct uc_op_type uc_op_hard_swish = {
	.code = UC_OP_HARD_SWISH,
	.elementwise = true,
	.check = uc_op_elementwise_ok,
	.panels = uc_op_no_panels,
	.scratch = uc_op_no_scratch,
	.run = hard_swish_run,
};
