/* SPDX-License-Identifier: Apache-2.0 */
/* A tensor that comes with the weights. */
#include "uc_ops.h"

static uint64_t tensor_bytes(const struct uc_tensor *t)
{
	return (uint64_t)uc_op_elements(t) * sizeof(float);
}

static bool constant_check(const struct uc_op_shapes *s)
{
	return !s->a && !s->b && uc_op_dense_ok(s->out) &&
	       uc_op_act_ok(s->op) && s->op->panel_bytes &&
	       s->op->panel_bytes % UC_PANEL_CHANNEL_BYTES == 0;
}

/* The planner chooses the size of a panel. */
static void constant_panels(const struct uc_op_shapes *s, uint64_t *panel_bytes,
			    uint64_t *panel_count)
{
	*panel_bytes = s->op->panel_bytes;
	*panel_count = uc_op_ceil_div(tensor_bytes(s->out), s->op->panel_bytes);
}

static void constant_run(const struct uc_op_step *step)
{
	uint64_t size = tensor_bytes(step->s.out);
	uint64_t offset = (uint64_t)step->first_panel * step->s.op->panel_bytes;
	uint64_t bytes = (uint64_t)step->panel_count * step->s.op->panel_bytes;
	float *out = step->out + offset / sizeof(float);

	if (bytes > size - offset)
		bytes = size - offset;
	__builtin_memcpy(out, step->panels, bytes);
	uc_op_apply_act(step->s.op, out, bytes / sizeof(float));
}

const struct uc_op_type uc_op_constant = {
	.code = UC_OP_CONSTANT,
	.no_input = true,
	.check = constant_check,
	.panels = constant_panels,
	.scratch = uc_op_no_scratch,
	.run = constant_run,
};
