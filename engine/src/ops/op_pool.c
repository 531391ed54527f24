/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MAX_POOL_2D and AVERAGE_POOL_2D. The usual maxima go along the rows of the
 * input (max_pool_rows.c); all else takes a row of output pixels at a time through a table of
 * pointers, [pixel][tap], moved by an offset where padding allows, as in
 * op_dwconv2d.c.
 */
#include "uc_ops.h"

#define FIRST_PASS 9 /* taps that a kernel takes at first */
#define NEXT_PASS 8  /* and then */

struct pool {
	struct uc_op_window win;
	bool average;
	bool count_pad;
	int64_t padded_h, padded_w; /* where padding ends */
	const float **table;
	float *buffer;
	float *zero;
	float *multiplier;
};

static uint64_t taps_of(const struct uc_op *op)
{
	return (uint64_t)op->kernel_h * op->kernel_w;
}

/* As ONNX with or without ceil_mode; each window holds an input element. */
static bool size_ok(uint32_t out, uint32_t in, uint32_t pad_a, uint32_t pad_b,
		    uint32_t kernel, uint32_t stride)
{
	uint64_t floor = uc_op_conv_size(in, pad_a, pad_b, kernel, stride, 1);

	if (pad_a >= kernel || pad_b >= kernel || !floor)
		return false;
	if (out == floor)
		return true;
	/* ceil_mode: one more, which must start before the input ends. */
	return out == floor + 1 &&
	       (uint64_t)floor * stride < (uint64_t)in + pad_a;
}

static bool pool_check(const struct uc_op_shapes *s)
{
	const struct uc_op *op = s->op;

	if (!uc_op_unary_ok(s) || !uc_op_window_ok(op) || op->dilation_h != 1 ||
	    op->dilation_w != 1)
		return false;
	return s->out->n == s->a->n && s->out->c == s->a->c &&
	       size_ok(s->out->h, s->a->h, op->pad_top, op->pad_bottom,
		       op->kernel_h, op->stride_h) &&
	       size_ok(s->out->w, s->a->w, op->pad_left, op->pad_right,
		       op->kernel_w, op->stride_w);
}

static uint64_t table_bytes(const struct uc_op_shapes *s)
{
	uint64_t taps = taps_of(s->op);

	/* A kernel loads a whole first pass of pointers, used or not. */
	if (taps < FIRST_PASS)
		taps = FIRST_PASS;
	return uc_op_align(sizeof(float *) * taps * s->out->w);
}

static uint64_t buffer_bytes(const struct uc_op_shapes *s)
{
	return uc_op_align(2 * sizeof(float) * ((uint64_t)s->a->c + 16));
}

static uint64_t zero_bytes(const struct uc_op_shapes *s)
{
	return uc_op_align(sizeof(float) * s->a->c + 64);
}

static uint64_t pool_scratch(const struct uc_op_shapes *s)
{
	return table_bytes(s) + buffer_bytes(s) + zero_bytes(s) +
	       uc_op_align(sizeof(float) * s->out->w);
}

/* Part of [first, first + count) that lies in [from, to). */
static int64_t overlap(int64_t first, int64_t count, int64_t from, int64_t to)
{
	int64_t end = first + count;

	if (first < from)
		first = from;
	if (end > to)
		end = to;
	return end > first ? end - first : 0;
}

static int64_t nearest(int64_t i, int64_t size)
{
	if (i < 0)
		return 0;
	return i < size ? i : size - 1;
}

/* For a maximum, padding repeats an element of the same window. */
static void build_table(const struct pool *pl, const float *image,
			int64_t first_y)
{
	const struct uc_op_window *win = &pl->win;
	const float **slot = pl->table;

	for (int64_t ox = 0; ox < win->out_w; ox++) {
		int64_t first_x = ox * win->stride_w - win->pad_left;

		for (int64_t ky = 0; ky < win->kernel_h; ky++) {
			int64_t y = nearest(first_y + ky, win->in_h);
			bool row_in = y == first_y + ky;

			for (int64_t kx = 0; kx < win->kernel_w; kx++) {
				int64_t x = nearest(first_x + kx, win->in_w);
				bool in = row_in && x == first_x + kx;

				*slot++ = in || !pl->average
						  ? image + y * win->in_row +
							    x * win->in_pixel
						  : pl->zero;
			}
		}
	}
}

static void build_multipliers(const struct pool *pl, int64_t first_y)
{
	const struct uc_op_window *win = &pl->win;
	int64_t from_y = pl->count_pad ? first_y : 0;
	int64_t high = overlap(first_y, win->kernel_h, from_y, pl->padded_h);

	for (int64_t ox = 0; ox < win->out_w; ox++) {
		int64_t first_x = ox * win->stride_w - win->pad_left;
		int64_t from_x = pl->count_pad ? first_x : 0;
		int64_t wide =
			overlap(first_x, win->kernel_w, from_x, pl->padded_w);

		pl->multiplier[ox] = 1.0f / (float)(high * wide);
	}
}

static void run_row(const struct pool *pl, size_t offset, float *out,
		    const struct uc_minmax *act)
{
	const struct uc_op_window *win = &pl->win;
	size_t taps = (size_t)(win->kernel_h * win->kernel_w);
	size_t pixels = (size_t)win->out_w;
	size_t channels = (size_t)win->in_c;
	size_t gap = (size_t)(win->out_pixel - win->out_c) * sizeof(float);
	size_t passes =
		taps <= FIRST_PASS
			? 0
			: (taps - FIRST_PASS + NEXT_PASS - 1) / NEXT_PASS;
	size_t taken = FIRST_PASS + NEXT_PASS * passes;

	if (!pl->average) {
		/* May be negative: the kernel is a part of a pass too far. */
		uc_kernels.maxpool(pixels, taps, channels, pl->table, offset,
				   out, (taps - taken) * sizeof(float *), gap,
				   act);
	} else if (!passes) {
		uc_kernels.avgpool(pixels, taps, channels, pl->table, offset,
				   pl->zero, pl->multiplier, out,
				   taps * sizeof(float *), gap, act);
	} else {
		/* The last pass leaves the pointer where it began. */
		uc_kernels.avgpool_multipass(
			pixels, taps, channels, pl->table, offset, pl->zero,
			pl->multiplier, pl->buffer, out,
			(taps - (taken - NEXT_PASS)) * sizeof(float *), gap,
			act);
	}
}

static void pool_run(const struct uc_op_step *step, bool average)
{
	const struct uc_op *op = step->s.op;
	struct uc_minmax act = uc_op_act(op);
	struct pool pl = {
		.win = uc_op_window_of(&step->s),
		.average = average,
		.count_pad = op->flags & UC_OP_FLAG_COUNT_INCLUDE_PAD,
	};
	const struct uc_op_window *win = &pl.win;
	uint8_t *scratch = step->scratch;
	int64_t row_bytes = win->in_row * (int64_t)sizeof(float);

	pl.padded_h = win->in_h + (pl.count_pad ? op->pad_bottom : 0);
	pl.padded_w = win->in_w + (pl.count_pad ? op->pad_right : 0);
	pl.table = (const float **)(void *)scratch;
	scratch += table_bytes(&step->s);
	pl.buffer = (float *)(void *)scratch;
	scratch += buffer_bytes(&step->s);
	pl.zero = (float *)(void *)scratch;
	__builtin_memset(scratch, 0, zero_bytes(&step->s));
	scratch += zero_bytes(&step->s);
	pl.multiplier = (float *)(void *)scratch;

	for (int64_t n = 0; n < win->in_n; n++) {
		const float *image = step->a + n * win->in_image;
		float *out = step->out + n * win->out_image;
		int64_t built_y = -1; /* input row of the table */

		for (int64_t oy = 0; oy < win->out_h; oy++) {
			int64_t y = oy * win->stride_h - win->pad_top;
			bool inside = y >= 0 && y + win->kernel_h <= win->in_h;
			size_t offset = 0;

			if (inside && built_y >= 0) {
				offset = (size_t)((y - built_y) * row_bytes);
			} else {
				build_table(&pl, image, y);
				build_multipliers(&pl, y);
				built_y = inside ? y : -1;
			}
			run_row(&pl, offset, out, &act);
			out += win->out_row;
		}
	}
}

static void max_pool_run(const struct uc_op_step *step)
{
	if (!uc_op_max_pool_rows(step))
		pool_run(step, false);
}

static void average_pool_run(const struct uc_op_step *step)
{
	pool_run(step, true);
}

const struct uc_op_type uc_op_max_pool = {
	.code = UC_OP_MAX_POOL_2D,
	.check = pool_check,
	.panels = uc_op_no_panels,
	.scratch = pool_scratch,
	.run = max_pool_run,
};

const struct uc_op_type uc_op_average_pool = {
	.code = UC_OP_AVERAGE_POOL_2D,
	.flags = UC_OP_FLAG_COUNT_INCLUDE_PAD,
	.check = pool_check,
	.panels = uc_op_no_panels,
	.scratch = pool_scratch,
	.run = average_pool_run,
};
