/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolution as matrix multiplication over tiles of output pixels, one of:
 *
 * rows    1x1 without stride or padding: the input is the matrix (GEMM).
 * merged  a kernel row is one run of kernel_w * cin floats in the input, so a
 *         tile whose windows lie inside needs kernel_h long taps only (IGEMM).
 *         With few input channels, pixels at the border get such runs copied
 *         into scratch.
 * taps    a pointer per tap; padding points at a row of zeros (IGEMM).
 * patch   few input channels per tap and no long runs (groups, dilation):
 *         windows are copied into scratch rows (GEMM).
 */
#include "uc_ops.h"

/* Up to here a pointer per tap costs more than copying its floats. */
#define PATCH_CHANNELS 8
#define PATCH_SLACK 4	/* copy_floats() writes up to 3 past a run */

struct conv {
	struct uc_op_window win;
	struct uc_minmax act;
	int64_t cin_g;
	int64_t cout_g;
	size_t rows;	/* output pixels of the batch */
	const float *in;
	float *out;
	const float **table;
	float *zero;
	float *patch;
	size_t patch_stride;	/* in floats */
};

/* Panels of one group: where they read and write. */
struct segment {
	const float *in;	/* first channel of the group */
	float *out;	/* first channel of the panels */
	const float *weights;
	size_t nc;
};

/* The window of one output pixel: its first tap, maybe in the padding. */
struct pixel {
	int64_t y;
	int64_t x;
	const float *image;
	bool inside;
};

struct cursor {
	int64_t oy;
	int64_t ox;
	const float *image;
};

static int64_t cin_of_group(const struct uc_op_shapes *s)
{
	return s->a->c / s->op->groups;
}

static bool is_rows(const struct uc_op *op)
{
	return op->kernel_h == 1 && op->kernel_w == 1 && op->stride_h == 1 &&
	       op->stride_w == 1 && !op->pad_top && !op->pad_left &&
	       !op->pad_bottom && !op->pad_right;
}

static bool conv2d_check(const struct uc_op_shapes *s)
{
	const struct uc_op *op = s->op;

	if (!uc_op_unary_ok(s) || !uc_op_window_ok(op))
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

	*panel_bytes = UC_PANEL_CHANNEL_BYTES *
		       (1 + taps * (s->a->c / op->groups));
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

	if (cin_g <= PATCH_CHANNELS)
		bytes += uc_op_align(UC_MAX_TILE_ROWS * sizeof(float) *
				     (taps * cin_g + PATCH_SLACK) + 64);
	return bytes;
}

/* May write up to 3 floats past dst[count): runs are copied in ascending
 * order, the last one of the patch has slack. */
static inline void copy_floats(float *dst, const float *src, int64_t count)
{
	for (int64_t i = 0; i < count; i += 4)
		__builtin_memcpy(dst + i, src + i, 4 * sizeof(float));
}

static inline void zero_floats(float *dst, int64_t count)
{
	for (int64_t i = 0; i < count; i++)
		dst[i] = 0.0f;
}

static void next_pixel(const struct conv *cv, struct cursor *cur)
{
	if (++cur->ox < cv->win.out_w)
		return;
	cur->ox = 0;
	if (++cur->oy < cv->win.out_h)
		return;
	cur->oy = 0;
	cur->image += cv->win.in_h * cv->win.in_w * cv->win.in_c;
}

/* Takes `rows` pixels; true when every window lies inside the input. */
static bool take_tile(const struct conv *cv, struct cursor *cur,
		      struct pixel *px, size_t rows)
{
	const struct uc_op_window *win = &cv->win;
	int64_t last_y = win->in_h - (win->kernel_h - 1) * win->dilation_h;
	int64_t last_x = win->in_w - (win->kernel_w - 1) * win->dilation_w;
	bool inside = true;

	for (size_t i = 0; i < rows; i++) {
		px[i].y = cur->oy * win->stride_h - win->pad_top;
		px[i].x = cur->ox * win->stride_w - win->pad_left;
		px[i].image = cur->image;
		px[i].inside = px[i].y >= 0 && px[i].y < last_y &&
			       px[i].x >= 0 && px[i].x < last_x;
		inside = inside && px[i].inside;
		next_pixel(cv, cur);
	}
	return inside;
}

static const float *pixel_at(const struct conv *cv, const struct pixel *px,
			     int64_t y, int64_t x)
{
	return px->image + (y * cv->win.in_w + x) * cv->win.in_c;
}

/* Kernels load all pointers of a tile: missing rows repeat the last one. */
static void repeat_last(const float **table, int64_t taps, size_t rows,
			size_t tile_rows)
{
	for (int64_t t = 0; t < taps; t++, table += tile_rows) {
		for (size_t i = rows; i < tile_rows; i++)
			table[i] = table[rows - 1];
	}
}

/* Windows inside the input: a pointer per kernel row. */
static void table_of_runs(const struct conv *cv, const struct pixel *px,
			  size_t rows, size_t tile_rows)
{
	int64_t row_step = cv->win.dilation_h * cv->win.in_w * cv->win.in_c;

	for (size_t i = 0; i < rows; i++) {
		const float *src = pixel_at(cv, &px[i], px[i].y, px[i].x);
		const float **slot = cv->table + i;

		for (int64_t ky = 0; ky < cv->win.kernel_h; ky++) {
			*slot = src;
			slot += tile_rows;
			src += row_step;
		}
	}
	repeat_last(cv->table, cv->win.kernel_h, rows, tile_rows);
}

static void table_of_taps(const struct conv *cv, const struct pixel *px,
			  size_t rows, size_t tile_rows)
{
	const struct uc_op_window *win = &cv->win;

	for (size_t i = 0; i < rows; i++) {
		const float **slot = cv->table + i;
		int64_t y = px[i].y;

		for (int64_t ky = 0; ky < win->kernel_h; ky++) {
			bool row_in = y >= 0 && y < win->in_h;
			int64_t x = px[i].x;

			for (int64_t kx = 0; kx < win->kernel_w; kx++) {
				*slot = row_in && x >= 0 && x < win->in_w ?
					pixel_at(cv, &px[i], y, x) : cv->zero;
				slot += tile_rows;
				x += win->dilation_w;
			}
			y += win->dilation_h;
		}
	}
	repeat_last(cv->table, win->kernel_h * win->kernel_w, rows, tile_rows);
}

/* One window with its padding, dilation_w = 1, all channels: copied runs. */
static void copy_window_runs(const struct conv *cv, const struct pixel *px,
			     float *dst)
{
	const struct uc_op_window *win = &cv->win;
	int64_t from = px->x < 0 ? -px->x : 0;
	int64_t to = win->in_w - px->x;
	int64_t y = px->y;

	if (from > win->kernel_w)
		from = win->kernel_w;
	if (to > win->kernel_w)
		to = win->kernel_w;
	for (int64_t ky = 0; ky < win->kernel_h; ky++, y += win->dilation_h) {
		int64_t run = win->kernel_w * win->in_c;

		if (y < 0 || y >= win->in_h || from >= to) {
			zero_floats(dst, run);
		} else {
			zero_floats(dst, from * win->in_c);
			copy_floats(dst + from * win->in_c,
				    pixel_at(cv, px, y, px->x + from),
				    (to - from) * win->in_c);
			zero_floats(dst + to * win->in_c,
				    (win->kernel_w - to) * win->in_c);
		}
		dst += run;
	}
}

/* As table_of_runs(), windows at the border replaced by their copies. */
static void table_of_copied_runs(const struct conv *cv,
				 const struct pixel *px, size_t rows,
				 size_t tile_rows)
{
	int64_t row_step = cv->win.dilation_h * cv->win.in_w * cv->win.in_c;
	int64_t run = cv->win.kernel_w * cv->win.in_c;

	for (size_t i = 0; i < rows; i++) {
		float *copy = cv->patch + i * cv->patch_stride;
		const float *src = copy;
		int64_t step = run;
		const float **slot = cv->table + i;

		if (px[i].inside) {
			src = pixel_at(cv, &px[i], px[i].y, px[i].x);
			step = row_step;
		} else {
			copy_window_runs(cv, &px[i], copy);
		}
		for (int64_t ky = 0; ky < cv->win.kernel_h; ky++) {
			*slot = src;
			slot += tile_rows;
			src += step;
		}
	}
	repeat_last(cv->table, cv->win.kernel_h, rows, tile_rows);
}

/* One window, tap by tap, the channels of one group. */
static void copy_window_taps(const struct conv *cv, const struct pixel *px,
			     float *dst)
{
	const struct uc_op_window *win = &cv->win;
	int64_t y = px->y;

	for (int64_t ky = 0; ky < win->kernel_h; ky++, y += win->dilation_h) {
		bool row_in = y >= 0 && y < win->in_h;
		int64_t x = px->x;

		for (int64_t kx = 0; kx < win->kernel_w; kx++) {
			if (row_in && x >= 0 && x < win->in_w)
				copy_floats(dst, pixel_at(cv, px, y, x),
					    cv->cin_g);
			else
				zero_floats(dst, cv->cin_g);
			dst += cv->cin_g;
			x += win->dilation_w;
		}
	}
}

static void run_rows(const struct conv *cv, const struct segment *seg)
{
	struct uc_op_gemm gemm = {
		.rows = cv->rows,
		.nc = seg->nc,
		.k = (size_t)cv->cin_g,
		.in = seg->in,
		.in_stride = (size_t)cv->win.in_c,
		.weights = seg->weights,
		.out = seg->out,
		.out_stride = (size_t)cv->win.out_c,
		.act = cv->act,
	};

	uc_op_gemm(&gemm);
}

static void run_patch(const struct conv *cv, const struct segment *seg)
{
	struct pixel px[UC_MAX_TILE_ROWS] = { 0 };
	struct cursor cur = { .image = seg->in };
	size_t out_stride = (size_t)cv->win.out_c;
	size_t k = (size_t)(cv->win.kernel_h * cv->win.kernel_w * cv->cin_g);
	size_t rows = 0;

	for (size_t m = 0; m < cv->rows; m += rows) {
		const struct uc_row_kernel *kernel =
			uc_op_row_tile(cv->rows - m, &rows);

		take_tile(cv, &cur, px, rows);
		for (size_t i = 0; i < rows; i++)
			copy_window_taps(cv, &px[i],
					 cv->patch + i * cv->patch_stride);
		kernel->gemm(rows, seg->nc, k * sizeof(float), cv->patch,
			     cv->patch_stride * sizeof(float), seg->weights,
			     seg->out + m * out_stride,
			     out_stride * sizeof(float),
			     UC_PANEL_CHANNEL_BYTES, &cv->act);
	}
}

static void run_pointers(const struct conv *cv, const struct segment *seg,
			 bool runs, bool copies)
{
	struct pixel px[UC_MAX_TILE_ROWS] = { 0 };
	struct cursor cur = { .image = seg->in };
	size_t out_stride = (size_t)cv->win.out_c;
	size_t rows = 0;

	for (size_t m = 0; m < cv->rows; m += rows) {
		const struct uc_row_kernel *kernel =
			uc_op_row_tile(cv->rows - m, &rows);
		bool inside = take_tile(cv, &cur, px, rows);
		size_t taps = (size_t)cv->win.kernel_h;
		size_t k = (size_t)(cv->win.kernel_w * cv->cin_g);

		if (runs && inside) {
			table_of_runs(cv, px, rows, kernel->rows);
		} else if (runs && copies) {
			table_of_copied_runs(cv, px, rows, kernel->rows);
		} else {
			table_of_taps(cv, px, rows, kernel->rows);
			taps *= (size_t)cv->win.kernel_w;
			k = (size_t)cv->cin_g;
		}
		kernel->igemm(rows, seg->nc, k * sizeof(float),
			      taps * kernel->rows * sizeof(float *),
			      cv->table, seg->weights,
			      seg->out + m * out_stride,
			      out_stride * sizeof(float),
			      UC_PANEL_CHANNEL_BYTES, 0, cv->zero, &cv->act);
	}
}

static void run_segment(const struct conv *cv, const struct uc_op *op,
			const struct segment *seg)
{
	bool runs = op->groups == 1 && op->dilation_w == 1;
	bool few = cv->cin_g <= PATCH_CHANNELS;

	if (is_rows(op))
		run_rows(cv, seg);
	else if (few && !runs)
		run_patch(cv, seg);
	else
		run_pointers(cv, seg, runs, few);
}

static void conv2d_run(const struct uc_op_step *step)
{
	const struct uc_op *op = step->s.op;
	uint8_t *scratch = step->scratch;
	struct conv cv = {
		.win = uc_op_window_of(&step->s),
		.act = uc_op_act(op),
		.cin_g = cin_of_group(&step->s),
		.cout_g = step->s.out->c / op->groups,
		.rows = uc_op_rows(step->s.out),
		.in = step->a,
		.out = step->out,
	};
	uint32_t group_panels = (uint32_t)uc_op_ceil_div((uint64_t)cv.cout_g,
							 UC_PANEL_CHANNELS);
	uint32_t end = step->first_panel + step->panel_count;
	const uint8_t *panels = step->panels;

	cv.table = (const float **)(void *)scratch;
	scratch += table_bytes(op);
	cv.zero = (float *)(void *)scratch;
	scratch += zero_bytes((uint64_t)cv.cin_g);
	cv.patch = (float *)(void *)scratch;
	cv.patch_stride = (size_t)(cv.win.kernel_h * cv.win.kernel_w *
				   cv.cin_g);
	/* Kernels read past the last channel of the zero row as well. */
	__builtin_memset(cv.zero, 0, zero_bytes((uint64_t)cv.cin_g));

	for (uint32_t p = step->first_panel; p < end;) {
		uint32_t group = p / group_panels;
		uint32_t first = p % group_panels;
		uint32_t count = group_panels - first;
		int64_t channel = (int64_t)first * UC_PANEL_CHANNELS;
		struct segment seg = {
			.in = cv.in + group * cv.cin_g,
			.out = cv.out + group * cv.cout_g + channel,
			.weights = (const float *)(const void *)panels,
		};

		if (count > end - p)
			count = end - p;
		seg.nc = (size_t)count * UC_PANEL_CHANNELS;
		if (seg.nc > (size_t)(cv.cout_g - channel))
			seg.nc = (size_t)(cv.cout_g - channel);
		run_segment(&cv, op, &seg);
		panels += (size_t)count * op->panel_bytes;
		p += count;
	}
}

const struct uc_op_type uc_op_conv2d = {
	.code = UC_OP_CONV_2D,
	.check = conv2d_check,
	.panels = conv2d_panels,
	.scratch = conv2d_scratch,
	.run = conv2d_run,
};
