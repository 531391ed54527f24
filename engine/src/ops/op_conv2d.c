/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolution as matrix multiplication over tiles of output pixels, one of:
 *
 * rows     1x1 without stride or padding: the input is the matrix (GEMM).
 * copies   few input channels: the windows of a tile are copied into scratch
 *          rows, a kernel row at a time where it is one run of floats (GEMM).
 * pointers many input channels: a pointer per tap, padding points at a row of
 *          zeros; where all windows of a tile lie inside and a kernel row is
 *          one run, a pointer per run (IGEMM).
 */
#include "conv.h"

/* Up to here pointers cost more than copying the floats (docs/kernels.md). */
#define COPY_CHANNELS 8
#define COPY_SLACK 4 /* copies write up to 3 floats past their end */

static bool is_rows(const struct uc_op_shapes *s)
{
	const struct uc_op *op = s->op;

	return uc_op_pixels_even(s->a) && op->kernel_h == 1 &&
	       op->kernel_w == 1 && op->stride_h == 1 && op->stride_w == 1 &&
	       !op->pad_top && !op->pad_left && !op->pad_bottom &&
	       !op->pad_right;
}

static bool conv2d_check(const struct uc_op_shapes *s)
{
	const struct uc_op *op = s->op;

	if (!uc_op_unary_ok(s) || !uc_op_window_ok(op) ||
	    !uc_op_pixels_even(s->out))
		return false;
	if (!op->groups || s->a->c % op->groups || s->out->c % op->groups)
		return false;
	return s->out->n == s->a->n &&
	       s->out->h == uc_op_conv_size(s->a->h, op->pad_top,
					    op->pad_bottom, op->kernel_h,
					    op->stride_h, op->dilation_h) &&
	       s->out->w == uc_op_conv_size(s->a->w, op->pad_left,
					    op->pad_right, op->kernel_w,
					    op->stride_w, op->dilation_w);
}

static void conv2d_panels(const struct uc_op_shapes *s, uint64_t *panel_bytes,
			  uint64_t *panel_count)
{
	const struct uc_op *op = s->op;
	uint64_t taps = (uint64_t)op->kernel_h * op->kernel_w;

	*panel_bytes =
		UC_PANEL_CHANNEL_BYTES * (1 + taps * (s->a->c / op->groups));
	*panel_count = op->groups * uc_op_ceil_div(s->out->c / op->groups,
						   UC_PANEL_CHANNELS);
}

static uint64_t table_bytes(const struct uc_op *op)
{
	return uc_op_align(sizeof(float *) * UC_MAX_TILE_ROWS * op->kernel_h *
			   op->kernel_w);
}

static uint64_t zero_bytes(uint64_t cin_g)
{
	return uc_op_align(sizeof(float) * cin_g + 64);
}

static uint64_t conv2d_scratch(const struct uc_op_shapes *s)
{
	uint64_t cin_g = s->a->c / s->op->groups;
	uint64_t taps = (uint64_t)s->op->kernel_h * s->op->kernel_w;
	uint64_t bytes = table_bytes(s->op) + zero_bytes(cin_g);

	if (cin_g <= COPY_CHANNELS)
		bytes += uc_op_align(UC_MAX_TILE_ROWS * sizeof(float) *
					     (taps * cin_g + COPY_SLACK) +
				     64);
	return bytes;
}

static void run_rows(const struct uc_conv *cv,
		     const struct uc_conv_segment *seg)
{
	struct uc_op_gemm gemm = {
		.rows = cv->rows,
		.nc = seg->nc,
		.k = (size_t)cv->cin_g,
		.in = seg->in,
		.in_stride = (size_t)cv->win.in_pixel,
		.weights = seg->weights,
		.out = seg->out,
		.out_stride = (size_t)cv->win.out_pixel,
		.act = cv->act,
	};

	uc_op_gemm(&gemm);
}

static void run_segment(const struct uc_conv *cv, const struct uc_op_shapes *s,
			const struct uc_conv_segment *seg)
{
	if (is_rows(s))
		run_rows(cv, seg);
	else if (cv->cin_g <= COPY_CHANNELS)
		uc_conv_run_copies(cv, seg);
	else
		uc_conv_run_pointers(cv, seg);
}

static struct uc_conv conv_of(const struct uc_op_step *step)
{
	const struct uc_op *op = step->s.op;
	uint8_t *scratch = step->scratch;
	struct uc_conv cv = {
		.win = uc_op_window_of(&step->s),
		.act = uc_op_act(op),
		.cin_g = step->s.a->c / op->groups,
		.cout_g = step->s.out->c / op->groups,
		.rows = uc_op_rows(step->s.out),
		.runs = op->groups == 1 && op->dilation_w == 1 &&
			step->s.a->stride_w == step->s.a->c,
	};
	const struct uc_op_window *win = &cv.win;
	uint64_t zeros = zero_bytes((uint64_t)cv.cin_g);

	cv.run = win->kernel_w * cv.cin_g;
	cv.row_step = win->dilation_h * win->in_row;
	cv.pixel_step = win->stride_w * win->in_pixel;
	cv.end_y = win->in_h - (win->kernel_h - 1) * win->dilation_h;
	cv.end_x = win->in_w - (win->kernel_w - 1) * win->dilation_w;
	cv.table = (const float **)(void *)scratch;
	scratch += table_bytes(op);
	cv.zero = (const float *)(const void *)scratch;
	/* Kernels read past the last channel of the zero row as well. */
	__builtin_memset(scratch, 0, zeros);
	scratch += zeros;
	cv.copies = (float *)(void *)scratch;
	return cv;
}

static void conv2d_run(const struct uc_op_step *step)
{
	const struct uc_op *op = step->s.op;
	struct uc_conv cv = conv_of(step);
	uint32_t group_panels = (uint32_t)uc_op_ceil_div((uint64_t)cv.cout_g,
							 UC_PANEL_CHANNELS);
	uint32_t end = step->first_panel + step->panel_count;
	const uint8_t *panels = step->panels;

	for (uint32_t p = step->first_panel; p < end;) {
		uint32_t group = p / group_panels;
		uint32_t first = p % group_panels;
		uint32_t count = group_panels - first;
		int64_t channel = (int64_t)first * UC_PANEL_CHANNELS;
		struct uc_conv_segment seg = {
			.in = step->a + group * cv.cin_g,
			.out = step->out + group * cv.cout_g + channel,
			.weights = (const float *)(const void *)panels,
		};

		if (count > end - p)
			count = end - p;
		seg.nc = (size_t)count * UC_PANEL_CHANNELS;
		if (seg.nc > (size_t)(cv.cout_g - channel))
			seg.nc = (size_t)(cv.cout_g - channel);
		run_segment(&cv, &step->s, &seg);
		panels += (size_t)count * op->panel_bytes;
		p += count;
	}
}

const struct uc_op_type uc_op_conv2d = {
	.code = UC_OP_CONV_2D,
	.int8_weights = true,
	.check = conv2d_check,
	.panels = conv2d_panels,
	.scratch = conv2d_scratch,
	.run = conv2d_run,
};
