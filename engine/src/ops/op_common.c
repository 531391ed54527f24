/* SPDX-License-Identifier: Apache-2.0 */
#include "uc_ops.h"

#define MAX_ELEMENTS (UINT64_C(1) << 38)

bool uc_op_tensor_ok(const struct uc_tensor *t)
{
	uint64_t count = 0;

	if (!t || !t->n || !t->h || !t->w || !t->c)
		return false;
	if (t->n > UC_MAX_DIM || t->h > UC_MAX_DIM || t->w > UC_MAX_DIM ||
	    t->c > UC_MAX_DIM)
		return false;
	/* Each factor is at most 2^20, so no product below wraps. */
	count = (uint64_t)t->n * t->h;
	if (count > MAX_ELEMENTS)
		return false;
	count *= t->w;
	if (count > MAX_ELEMENTS)
		return false;
	count *= t->c;
	return count <= MAX_ELEMENTS && t->dtype == UC_DTYPE_F32;
}

bool uc_op_same_shape(const struct uc_tensor *a, const struct uc_tensor *b)
{
	return a->n == b->n && a->h == b->h && a->w == b->w && a->c == b->c;
}

bool uc_op_act_ok(const struct uc_op *op)
{
	/* False for a NaN on either side. */
	return op->act_min <= op->act_max;
}

bool uc_op_unary_ok(const struct uc_op_shapes *s)
{
	return uc_op_tensor_ok(s->a) && !s->b && uc_op_tensor_ok(s->out) &&
	       uc_op_act_ok(s->op);
}

bool uc_op_elementwise_ok(const struct uc_op_shapes *s)
{
	return uc_op_unary_ok(s) && uc_op_same_shape(s->a, s->out);
}

void uc_op_no_panels(const struct uc_op_shapes *s, uint64_t *panel_bytes,
		     uint64_t *panel_count)
{
	(void)s;
	*panel_bytes = 0;
	*panel_count = 0;
}

uint64_t uc_op_no_scratch(const struct uc_op_shapes *s)
{
	(void)s;
	return 0;
}

bool uc_op_has_act(const struct uc_op *op)
{
	return op->act_min > -__builtin_inff() ||
	       op->act_max < __builtin_inff();
}

void uc_op_apply_act(const struct uc_op *op, float *x, size_t count)
{
	struct uc_minmax act = uc_op_act(op);

	if (uc_op_has_act(op))
		uc_kernels.clamp(count * sizeof(float), x, x, &act);
}

struct uc_op_window uc_op_window_of(const struct uc_op_shapes *s)
{
	struct uc_op_window win = {
		.in_n = s->a->n,
		.in_h = s->a->h,
		.in_w = s->a->w,
		.in_c = s->a->c,
		.out_h = s->out->h,
		.out_w = s->out->w,
		.out_c = s->out->c,
		.in_pixel = s->a->c,
		.in_row = (int64_t)s->a->w * s->a->c,
		.in_image = (int64_t)s->a->h * s->a->w * s->a->c,
		.out_pixel = s->out->c,
		.out_row = (int64_t)s->out->w * s->out->c,
		.out_image = (int64_t)s->out->h * s->out->w * s->out->c,
		.kernel_h = s->op->kernel_h,
		.kernel_w = s->op->kernel_w,
		.stride_h = s->op->stride_h,
		.stride_w = s->op->stride_w,
		.dilation_h = s->op->dilation_h,
		.dilation_w = s->op->dilation_w,
		.pad_top = s->op->pad_top,
		.pad_left = s->op->pad_left,
	};

	return win;
}

bool uc_op_window_ok(const struct uc_op *op)
{
	return op->kernel_h && op->kernel_h <= UC_MAX_KERNEL_SIZE &&
	       op->kernel_w && op->kernel_w <= UC_MAX_KERNEL_SIZE &&
	       op->stride_h && op->stride_h <= UC_MAX_STRIDE && op->stride_w &&
	       op->stride_w <= UC_MAX_STRIDE && op->dilation_h &&
	       op->dilation_w;
}

uint64_t uc_op_conv_size(uint32_t in, uint32_t pad_a, uint32_t pad_b,
			 uint32_t kernel, uint32_t stride, uint32_t dilation)
{
	uint64_t padded = (uint64_t)in + pad_a + pad_b;
	uint64_t reach = (uint64_t)dilation * (kernel - 1) + 1;

	if (padded < reach)
		return 0;
	return (padded - reach) / stride + 1;
}
