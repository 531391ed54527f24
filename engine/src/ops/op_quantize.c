/* SPDX-License-Identifier: Apache-2.0 */
/* Between f32 and s8, and any function of one s8 element. */
#include "s8.h"

#define TABLE_BYTES 256

static bool quantize_check(const struct uc_op_shapes *s)
{
	return !s->b && uc_s8_f32_ok(s->a, &s->op->a_quant) &&
	       uc_s8_tensor_ok(s->out, &s->op->out_quant) &&
	       uc_s8_act_ok(s->op) && uc_op_same_shape(s->a, s->out);
}

static void quantize_run(const struct uc_op_step *step)
{
	const struct uc_op *op = step->s.op;
	struct uc_qs8_out to = uc_s8_out(op);

	uc_qs8_quantise(uc_op_elements(step->s.a), step->a,
			(int8_t *)(void *)step->out, op->out_quant.scale, &to);
}

const struct uc_op_type uc_op_quantize = {
	.code = UC_OP_QUANTIZE,
	.check = quantize_check,
	.panels = uc_op_no_panels,
	.scratch = uc_op_no_scratch,
	.run = quantize_run,
};

static bool dequantize_check(const struct uc_op_shapes *s)
{
	return !s->b && uc_s8_tensor_ok(s->a, &s->op->a_quant) &&
	       uc_s8_f32_ok(s->out, &s->op->out_quant) && uc_op_act_ok(s->op) &&
	       uc_op_same_shape(s->a, s->out);
}

static void dequantize_run(const struct uc_op_step *step)
{
	const struct uc_op *op = step->s.op;
	size_t count = uc_op_elements(step->s.a);

	uc_qs8_dequantise(count, uc_s8_in(step->a), step->out,
			  op->a_quant.scale, op->a_quant.zero);
	uc_op_apply_act(op, step->out, count);
}

const struct uc_op_type uc_op_dequantize = {
	.code = UC_OP_DEQUANTIZE,
	.check = dequantize_check,
	.panels = uc_op_no_panels,
	.scratch = uc_op_no_scratch,
	.run = dequantize_run,
};

/* Between other dimensions it is a reshape. */
static bool lookup_check(const struct uc_op_shapes *s)
{
	return uc_s8_unary_ok(s) &&
	       uc_op_elements(s->a) == uc_op_elements(s->out);
}

static void lookup_panels(const struct uc_op_shapes *s, uint64_t *panel_bytes,
			  uint64_t *panel_count)
{
	(void)s;
	*panel_bytes = TABLE_BYTES;
	*panel_count = 1;
}

static void lookup_run(const struct uc_op_step *step)
{
	size_t count = uc_op_elements(step->s.a);
	int8_t *out = (int8_t *)(void *)step->out;
	struct uc_qs8_out to = uc_s8_out(step->s.op);

	uc_qs8_lookup(count, uc_s8_in(step->a), out, step->panels);
	if (to.min > INT8_MIN || to.max < INT8_MAX)
		uc_qs8_clamp(count, out, &to);
}

const struct uc_op_type uc_op_lookup_s8 = {
	.code = UC_OP_LOOKUP_S8,
	.check = lookup_check,
	.panels = lookup_panels,
	.scratch = uc_op_no_scratch,
	.run = lookup_run,
};
