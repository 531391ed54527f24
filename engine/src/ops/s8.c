/* SPDX-License-Identifier: Apache-2.0 */
#include "s8.h"

static bool is_integer(float x, float min, float max)
{
	/* False for a NaN; a float within the bounds fits an int. */
	return x >= min && x <= max && (float)(int32_t)x == x;
}

bool uc_s8_tensor_ok(const struct uc_tensor *t, const struct uc_quantisation *q)
{
	struct uc_tensor same = {0};

	if (!t || t->dtype != UC_DTYPE_S8)
		return false;
	same = *t;
	same.dtype = UC_DTYPE_F32;
	return uc_op_tensor_ok(&same) && uc_tensor_span(t) == t->bytes &&
	       q->scale > 0.0f && q->scale < __builtin_inff() &&
	       q->zero >= INT8_MIN && q->zero <= INT8_MAX;
}

bool uc_s8_f32_ok(const struct uc_tensor *t, const struct uc_quantisation *q)
{
	return uc_op_dense_ok(t) && q->scale == 0.0f && q->zero == 0;
}

bool uc_s8_act_ok(const struct uc_op *op)
{
	return is_integer(op->act_min, INT8_MIN, INT8_MAX) &&
	       is_integer(op->act_max, op->act_min, INT8_MAX);
}

bool uc_s8_unary_ok(const struct uc_op_shapes *s)
{
	return !s->b && uc_s8_tensor_ok(s->a, &s->op->a_quant) &&
	       uc_s8_tensor_ok(s->out, &s->op->out_quant) &&
	       uc_s8_act_ok(s->op);
}

struct uc_qs8_out uc_s8_out(const struct uc_op *op)
{
	struct uc_qs8_out out = {
		.zero = op->out_quant.zero,
		.min = (int32_t)op->act_min,
		.max = (int32_t)op->act_max,
	};

	return out;
}

bool uc_s8_conv_size_ok(const struct uc_op_shapes *s)
{
	const struct uc_op *op = s->op;

	return s->out->n == s->a->n &&
	       s->out->h == uc_op_conv_size(s->a->h, op->pad_top,
					    op->pad_bottom, op->kernel_h,
					    op->stride_h, op->dilation_h) &&
	       s->out->w == uc_op_conv_size(s->a->w, op->pad_left,
					    op->pad_right, op->kernel_w,
					    op->stride_w, op->dilation_w);
}
