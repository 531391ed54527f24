/* SPDX-License-Identifier: Apache-2.0 */
/* Pooling of 8-bit activations: one output pixel at a time, all its channels. */
#include "s8.h"

static bool window_holds_input(uint32_t in, uint32_t out, uint32_t kernel,
			       uint32_t stride, uint32_t before, uint32_t after)
{
	uint64_t padded = (uint64_t)in + before + after;
	uint64_t most = padded > kernel
				? uc_op_ceil_div(padded - kernel, stride) + 1
				: 1;

	return before < kernel && after < kernel && out <= most &&
	       (uint64_t)(out - 1) * stride < (uint64_t)in + before;
}

static bool pool_check(const struct uc_op_shapes *s)
{
	const struct uc_op *op = s->op;

	return uc_s8_unary_ok(s) && uc_op_window_ok(op) &&
	       op->dilation_h == 1 && op->dilation_w == 1 &&
	       s->a->n == s->out->n && s->a->c == s->out->c &&
	       window_holds_input(s->a->h, s->out->h, op->kernel_h,
				  op->stride_h, op->pad_top, op->pad_bottom) &&
	       window_holds_input(s->a->w, s->out->w, op->kernel_w,
				  op->stride_w, op->pad_left, op->pad_right);
}

static bool max_check(const struct uc_op_shapes *s)
{
	/* The largest of stored integers: scale and zero point stay. */
	return pool_check(s) &&
	       s->op->a_quant.scale == s->op->out_quant.scale &&
	       s->op->a_quant.zero == s->op->out_quant.zero;
}

/* The part of a window that lies inside of the input. */
struct span {
	int64_t first, end;
};

static struct span span_of(int64_t at, int64_t stride, int64_t pad,
			   int64_t kernel, int64_t in)
{
	struct span s = {.first = at * stride - pad};

	s.end = s.first + kernel < in ? s.first + kernel : in;
	if (s.first < 0)
		s.first = 0;
	return s;
}

/* At least one pixel is in each window (check). */
static void max_pixel(const int8_t *image, const struct uc_op_window *win,
		      struct span rows, struct span columns, int8_t *out)
{
	size_t channels = (size_t)win->in_c;

	__builtin_memset(out, INT8_MIN, channels);
	for (int64_t y = rows.first; y < rows.end; y++) {
		for (int64_t x = columns.first; x < columns.end; x++)
			uc_qs8_max(channels,
				   image + (y * win->in_w + x) * win->in_c,
				   out);
	}
}

static void average_pixel(const struct uc_op *op, const int8_t *image,
			  const struct uc_op_window *win, struct span rows,
			  struct span columns, int32_t *sum, int8_t *out)
{
	size_t channels = (size_t)win->in_c;
	struct uc_qs8_out to = uc_s8_out(op);
	int32_t count = (int32_t)((rows.end - rows.first) *
				  (columns.end - columns.first));
	int32_t divisor = (op->flags & UC_OP_FLAG_COUNT_INCLUDE_PAD)
				  ? op->kernel_h * op->kernel_w
				  : count;

	__builtin_memset(sum, 0, channels * sizeof(*sum));
	for (int64_t y = rows.first; y < rows.end; y++) {
		for (int64_t x = columns.first; x < columns.end; x++)
			uc_qs8_accumulate(
				channels,
				image + (y * win->in_w + x) * win->in_c, sum);
	}
	uc_qs8_average(channels, sum, count * op->a_quant.zero,
		       op->a_quant.scale /
			       (op->out_quant.scale * (float)divisor),
		       out, &to);
}

static void pool_run(const struct uc_op_step *step)
{
	const struct uc_op *op = step->s.op;
	struct uc_op_window win = uc_op_window_of(&step->s);
	const int8_t *image = uc_s8_in(step->a);
	int8_t *out = (int8_t *)(void *)step->out;
	int32_t *sum = (int32_t *)(void *)step->scratch;
	struct uc_qs8_out to = uc_s8_out(op);

	for (int64_t n = 0; n < win.in_n; n++) {
		for (int64_t oy = 0; oy < win.out_h; oy++) {
			struct span rows =
				span_of(oy, win.stride_h, win.pad_top,
					win.kernel_h, win.in_h);

			for (int64_t ox = 0; ox < win.out_w; ox++) {
				struct span columns =
					span_of(ox, win.stride_w, win.pad_left,
						win.kernel_w, win.in_w);

				if (op->code == UC_OP_MAX_POOL_2D_S8)
					max_pixel(image, &win, rows, columns,
						  out);
				else
					average_pixel(op, image, &win, rows,
						      columns, sum, out);
				out += win.out_c;
			}
		}
		image += win.in_h * win.in_w * win.in_c;
	}
	if (op->code == UC_OP_MAX_POOL_2D_S8)
		uc_qs8_clamp(uc_op_elements(step->s.out),
			     (int8_t *)(void *)step->out, &to);
}

static uint64_t average_scratch(const struct uc_op_shapes *s)
{
	return uc_op_align(4 * (uint64_t)s->a->c);
}

const struct uc_op_type uc_op_max_pool_s8 = {
	.code = UC_OP_MAX_POOL_2D_S8,
	.check = max_check,
	.panels = uc_op_no_panels,
	.scratch = uc_op_no_scratch,
	.run = pool_run,
};

const struct uc_op_type uc_op_average_pool_s8 = {
	.code = UC_OP_AVERAGE_POOL_2D_S8,
	.flags = UC_OP_FLAG_COUNT_INCLUDE_PAD,
	.check = pool_check,
	.panels = uc_op_no_panels,
	.scratch = average_scratch,
	.run = pool_run,
};
