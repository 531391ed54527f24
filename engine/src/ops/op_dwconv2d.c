/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Depthwise convolution. The usual square kernels take several rows of outputs
 * at a time (dwconv_blocks.c); all others a row of output pixels through a table
 * of pointers, [pixel][slot]. Rows whose windows lie inside the input share one
 * table, moved by an offset; it is rebuilt only at the top and the bottom.
 */
#include "dwconv.h"

struct table {
	const struct uc_dwconv *dw;
	size_t slots;
	const float **pointers;
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

static void build_table(const struct table *table, const float *image,
			int64_t first_y)
{
	const struct uc_op_window *win = &table->dw->win;
	const float *zero = table->dw->zero;
	const float **slot = table->pointers;
	size_t spare = table->slots - (size_t)(win->kernel_h * win->kernel_w);

	for (int64_t ox = 0; ox < win->out_w; ox++) {
		int64_t first_x = ox * win->stride_w - win->pad_left;
		int64_t y = first_y;

		for (int64_t ky = 0; ky < win->kernel_h; ky++) {
			bool row_in = y >= 0 && y < win->in_h;
			int64_t x = first_x;

			for (int64_t kx = 0; kx < win->kernel_w; kx++) {
				*slot++ = row_in && x >= 0 && x < win->in_w
						  ? image + y * win->in_row +
							    x * win->in_pixel
						  : zero;
				x += win->dilation_w;
			}
			y += win->dilation_h;
		}
		for (size_t i = 0; i < spare; i++)
			*slot++ = zero;
	}
}

static void run_table(const struct uc_dwconv *dw,
		      const struct uc_dwconv_kernel *kernel,
		      const float **pointers)
{
	const struct uc_op_window *win = &dw->win;
	struct table table = {dw, kernel->slots, pointers};
	int64_t row_bytes = win->in_row * (int64_t)sizeof(float);
	int64_t last_y = win->in_h - (win->kernel_h - 1) * win->dilation_h;

	for (int64_t n = 0; n < win->in_n; n++) {
		const float *image = dw->in + n * win->in_image;
		float *out = dw->out + n * win->out_image;
		int64_t built_y = -1; /* input row of the table */

		for (int64_t oy = 0; oy < win->out_h; oy++) {
			int64_t y = oy * win->stride_h - win->pad_top;
			bool inside = y >= 0 && y < last_y;
			size_t offset = 0;

			if (inside && built_y >= 0) {
				offset = (size_t)((y - built_y) * row_bytes);
			} else {
				build_table(&table, image, y);
				built_y = inside ? y : -1;
			}
			kernel->run(dw->channels, (size_t)win->out_w, pointers,
				    dw->weights, out,
				    (intptr_t)(kernel->slots * sizeof(float *)),
				    ((size_t)win->out_pixel - dw->channels) *
					    sizeof(float),
				    offset, dw->zero, &dw->act);
			out += win->out_row;
		}
	}
}

/* Panels of whole quads through the kernels that take several rows; the choice
 * is the panel's own, so that steps do not change a bit. */
static void dwconv2d_run(const struct uc_op_step *step)
{
	const struct uc_dwconv_kernel *kernel = kernel_of(step->s.op);
	const struct uc_dwconv_rows_kernel *rows = NULL;
	size_t panel_floats = UC_PANEL_CHANNELS * (1 + kernel->slots);
	uint8_t *zero = step->scratch + table_bytes(&step->s);
	size_t first = (size_t)step->first_panel * UC_PANEL_CHANNELS;
	size_t left = step->s.out->c - first;
	size_t channels = (size_t)step->panel_count * UC_PANEL_CHANNELS;
	struct uc_dwconv dw = {
		.win = uc_op_window_of(&step->s),
		.act = uc_op_act(step->s.op),
		.zero = (const float *)(const void *)zero,
		.in = step->a + first,
		.out = step->out + first,
		.weights = (const float *)(const void *)step->panels,
		.channels = channels < left ? channels : left,
	};

	__builtin_memset(zero, 0, zero_bytes(&step->s));
	rows = uc_dwconv_find_rows(&dw.win);
	if (rows) {
		size_t all = dw.channels;
		size_t odd = all % UC_QUAD ? all % UC_PANEL_CHANNELS : 0;

		dw.channels = all - odd;
		uc_dwconv_run_rows(&dw, rows);
		dw.in += dw.channels;
		dw.out += dw.channels;
		dw.weights += dw.channels / UC_PANEL_CHANNELS * panel_floats;
		dw.channels = odd;
	}
	if (dw.channels)
		run_table(&dw, kernel, (const float **)(void *)step->scratch);
}

const struct uc_op_type uc_op_dwconv2d = {
	.code = UC_OP_DEPTHWISE_CONV_2D,
	.int8_weights = true,
	.check = dwconv2d_check,
	.panels = dwconv2d_panels,
	.scratch = dwconv2d_scratch,
	.run = dwconv2d_run,
};
