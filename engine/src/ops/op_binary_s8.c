/* SPDX-License-Identifier: Apache-2.0 */
/* Sum and product of 8-bit tensors; b may be one row of channels an image. */
#include "s8.h"

static bool binary_check(const struct uc_op_shapes *s)
{
	if (!uc_s8_tensor_ok(s->a, &s->op->a_quant) ||
	    !uc_s8_tensor_ok(s->b, &s->op->b_quant) ||
	    !uc_s8_tensor_ok(s->out, &s->op->out_quant) || !uc_s8_act_ok(s->op))
		return false;
	return uc_op_same_shape(s->a, s->out) &&
	       (uc_op_same_shape(s->b, s->out) ||
		(s->b->n == s->out->n && s->b->h == 1 && s->b->w == 1 &&
		 s->b->c == s->out->c));
}

static void add(const struct uc_op *op, size_t count, const int8_t *a,
		const int8_t *b, int8_t *out)
{
	struct uc_qs8_sum sum = {
		.by_a = op->a_quant.scale / op->out_quant.scale,
		.by_b = op->b_quant.scale / op->out_quant.scale,
		.out = uc_s8_out(op),
	};

	sum.plus = -(sum.by_a * (float)op->a_quant.zero +
		     sum.by_b * (float)op->b_quant.zero);
	uc_qs8_add(count, a, b, out, &sum);
}

static void multiply(const struct uc_op *op, size_t count, const int8_t *a,
		     const int8_t *b, int8_t *out)
{
	struct uc_qs8_product product = {
		.a_zero = op->a_quant.zero,
		.b_zero = op->b_quant.zero,
		.by = op->a_quant.scale * op->b_quant.scale /
		      op->out_quant.scale,
		.out = uc_s8_out(op),
	};

	uc_qs8_multiply(count, a, b, out, &product);
}

static void binary_run(const struct uc_op_step *step)
{
	const struct uc_op *op = step->s.op;
	const struct uc_tensor *t = step->s.out;
	bool rows = !uc_op_same_shape(step->s.b, t);
	const int8_t *a = uc_s8_in(step->a);
	const int8_t *b = uc_s8_in(step->b);
	int8_t *out = (int8_t *)(void *)step->out;
	size_t pixels = (size_t)t->h * t->w;
	size_t pieces = rows ? t->n * pixels : 1;
	size_t count = rows ? t->c : uc_op_elements(t);

	for (size_t i = 0; i < pieces; i++) {
		const int8_t *with = b + i / pixels * count;

		if (op->code == UC_OP_ADD_S8)
			add(op, count, a + i * count, with, out + i * count);
		else
			multiply(op, count, a + i * count, with,
				 out + i * count);
	}
}

#define BINARY(op_code)                                                        \
	{                                                                      \
		.code = (op_code),                                             \
		.second_input = true,                                          \
		.check = binary_check,                                         \
		.panels = uc_op_no_panels,                                     \
		.scratch = uc_op_no_scratch,                                   \
		.run = binary_run,                                             \
	}

const struct uc_op_type uc_op_add_s8 = BINARY(UC_OP_ADD_S8);
const struct uc_op_type uc_op_mul_s8 = BINARY(UC_OP_MUL_S8);
