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

bool uc_op_dense_ok(const struct uc_tensor *t)
{
	return uc_op_tensor_ok(t) && uc_tensor_span(t) == t->bytes;
}

bool uc_op_pixels_even(const struct uc_tensor *t)
{
	return (t->h == 1 || t->stride_h == t->w * t->stride_w) &&
	       (t->n == 1 || t->stride_n == t->w * t->h * t->stride_w);
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

void uc_op_for_runs(const struct uc_tensor *a, const float *in,
		    const struct uc_tensor *b, float *out, uc_op_run_fn *run,
		    const void *context)
{
	/* Innermost first; an axis goes into the run while neither has a gap
	 * before it. */
	const size_t size[4] = {a->c, a->w, a->h, a->n};
	const size_t a_stride[4] = {1, a->stride_w, a->stride_h, a->stride_n};
	const size_t b_stride[4] = {1, b->stride_w, b->stride_h, b->stride_n};
	size_t count = 1;
	size_t axis = 0;
	size_t loops[4] = {1, 1, 1, 1};

	while (axis < 4 && (size[axis] == 1 || (a_stride[axis] == count &&
						b_stride[axis] == count)))
		count *= size[axis++];
	for (size_t i = axis; i < 4; i++)
		loops[i] = size[i];
	for (size_t n = 0; n < loops[3]; n++) {
		for (size_t h = 0; h < loops[2]; h++) {
			const float *x = in + n * a_stride[3] + h * a_stride[2];
			float *y = out + n * b_stride[3] + h * b_stride[2];

			for (size_t w = 0; w < loops[1]; w++)
				run(context, count, x + w * a_stride[1],
				    y + w * b_stride[1]);
		}
	}
}

static void clamp_in_place(const void *context, size_t count, const float *in,
			   float *out)
{
	(void)in;
	uc_op_apply_act(context, out, count);
}

void uc_op_apply_act_to(const struct uc_op *op, const struct uc_tensor *t,
			float *x)
{
	if (uc_op_has_act(op))
		uc_op_for_runs(t, x, t, x, clamp_in_place, op);
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
		.in_pixel = (int64_t)s->a->stride_w,
		.in_row = (int64_t)s->a->stride_h,
		.in_image = (int64_t)s->a->stride_n,
		.out_pixel = (int64_t)s->out->stride_w,
		.out_row = (int64_t)s->out->stride_h,
		.out_image = (int64_t)s->out->stride_n,
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
