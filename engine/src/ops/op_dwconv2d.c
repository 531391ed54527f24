/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Depthwise convolution: a row of output pixels at a time through a table of
 * pointers, [pixel][slot]. Rows whose windows lie inside the input share one
 * table, moved by an offset; it is rebuilt only at the top and the bottom.
 */
#include "uc_ops.h"

struct dwconv {
	struct uc_op_window win;
	size_t slots;
	const float **table;
	const float *zero;
};

static const struct uc_dwconv_kernel *find_kernel(uint64_t taps)
{
	for (size_t i = 0; i < UC_DWCONV_KERNELS; i++) {
		if (taps <= uc_kernels.dwconv[i].slots)
			return &uc_kernels.dwconv[i];
	}
	return NULL;
}

static const struct uc_dwconv_kernel *kernel_of(const struct uc_op *op)
{
	return find_kernel((uint64_t)op->kernel_h * op->kernel_w);
}

static bool dwconv2d_check(const struct uc_op_shapes *s)
{
	const struct uc_op *op = s->op;

	if (!uc_op_unary_ok(s) || !uc_op_window_ok(op) || !kernel_of(op))
		return false;
	if (op->groups != s->a->c || s->out->c != s->a->c)
		return false;
	return s->out->n == s->a->n &&
	       s->out->h == uc_op_conv_size(s->a->h, op->pad_top,
					    op->pad_bottom, op->kernel_h,
					    op->stride_h, op->dilation_h) &&
	       s->out->w == uc_op_conv_size(s->a->w, op->pad_left,
					    op->pad_right, op->kernel_w,
					    op->stride_w, op->dilation_w);
}

static void dwconv2d_panels(const struct uc_op_shapes *s, uint64_t *panel_bytes,
			    uint64_t *panel_count)
{
	*panel_bytes = UC_PANEL_CHANNEL_BYTES * (1 + kernel_of(s->op)->slots);
	*panel_count = uc_op_ceil_div(s->out->c, UC_PANEL_CHANNELS);
}

static uint64_t table_bytes(const struct uc_op_shapes *s)
{
	return uc_op_align(sizeof(float *) * kernel_of(s->op)->slots *
			   s->out->w);
}

static uint64_t zero_bytes(const struct uc_op_shapes *s)
{
	return uc_op_align(sizeof(float) * s->a->c + 64);
}

static uint64_t dwconv2d_scratch(const struct uc_op_shapes *s)
{
	return table_bytes(s) + zero_bytes(s);
}

static void build_table(const struct dwconv *dw, const float *image,
			int64_t first_y)
{
	const struct uc_op_window *win = &dw->win;
	const float **slot = dw->table;
	size_t spare = dw->slots - (size_t)(win->kernel_h * win->kernel_w);

	for (int64_t ox = 0; ox < win->out_w; ox++) {
		int64_t first_x = ox * win->stride_w - win->pad_left;
		int64_t y = first_y;

		for (int64_t ky = 0; ky < win->kernel_h; ky++) {
			bool row_in = y >= 0 && y < win->in_h;
			int64_t x = first_x;

			for (int64_t kx = 0; kx < win->kernel_w; kx++) {
				*slot++ = row_in && x >= 0 && x < win->in_w
						  ? image + (y * win->in_w +
							     x) * win->in_c
						  : dw->zero;
				x += win->dilation_w;
			}
			y += win->dilation_h;
		}
		for (size_t i = 0; i < spare; i++)
			*slot++ = dw->zero;
	}
}

static void dwconv2d_run(const struct uc_op_step *step)
{
	const struct uc_dwconv_kernel *kernel = kernel_of(step->s.op);
	struct uc_minmax act = uc_op_act(step->s.op);
	struct dwconv dw = {
		.win = uc_op_window_of(&step->s),
		.slots = kernel->slots,
		.table = (const float **)(void *)step->scratch,
		.zero = (const float *)(const void *)(step->scratch +
						      table_bytes(&step->s)),
	};
	const struct uc_op_window *win = &dw.win;
	size_t channel = (size_t)step->first_panel * UC_PANEL_CHANNELS;
	size_t channels = (size_t)step->panel_count * UC_PANEL_CHANNELS;
	size_t out_c = step->s.out->c;
	int64_t row_bytes = win->in_w * win->in_c * (int64_t)sizeof(float);
	int64_t last_y = win->in_h - (win->kernel_h - 1) * win->dilation_h;
	int64_t built_row = -1; /* input row, of all images, of the table */
	float *out = step->out + channel;

	if (channels > out_c - channel)
		channels = out_c - channel;
	__builtin_memset(step->scratch + table_bytes(&step->s), 0,
			 zero_bytes(&step->s));
	for (int64_t n = 0; n < win->in_n; n++) {
		const float *image =
			step->a + n * win->in_h * win->in_w * win->in_c;

		for (int64_t oy = 0; oy < win->out_h; oy++) {
			int64_t y = oy * win->stride_h - win->pad_top;
			int64_t row = n * win->in_h + y;
			bool inside = y >= 0 && y < last_y;
			size_t offset = channel * sizeof(float);

			if (inside && built_row >= 0) {
				offset +=
					(size_t)((row - built_row) * row_bytes);
			} else {
				build_table(&dw, image, y);
				built_row = inside ? row : -1;
			}
			kernel->run(channels, (size_t)win->out_w, dw.table,
				    (const float *)(const void *)step->panels,
				    out, (intptr_t)(dw.slots * sizeof(float *)),
				    (out_c - channels) * sizeof(float), offset,
				    dw.zero, &act);
			out += (size_t)win->out_w * out_c;
		}
	}
}

const struct uc_op_type uc_op_dwconv2d = {
	.code = UC_OP_DEPTHWISE_CONV_2D,
	.check = dwconv2d_check,
	.panels = dwconv2d_panels,
	.scratch = dwconv2d_scratch,
	.run = dwconv2d_run,
};
