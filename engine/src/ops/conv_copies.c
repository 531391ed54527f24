/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolution of few input channels: the windows of a tile, copied one after
 * another, are the rows of a matrix. The kernels need fewer instructions for
 * one long row than for many short taps (docs/kernels.md).
 */
#include "conv.h"
#include "vec.h"

#define QUAD 4 /* floats to a vector register */

/*
 * Copies whole quads: reads and writes up to 3 floats past the end. Whoever
 * fills a buffer so does it in ascending order; its end has slack.
 */
static inline void copy_quads(float *dst, const float *src, int64_t quads)
{
	for (int64_t i = 0; i < quads; i++)
		__builtin_memcpy(dst + QUAD * i, src + QUAD * i,
				 QUAD * sizeof(float));
}

static inline void copy_floats(float *dst, const float *src, int64_t count)
{
	copy_quads(dst, src, (count + QUAD - 1) / QUAD);
}

static inline void zero_floats(float *dst, int64_t count)
{
	for (int64_t i = 0; i < count; i++)
		dst[i] = 0.0f;
}

/*
 * Windows inside the input, pixel_step apart, a kernel row at a time. With
 * constant `triples` (3 quads) and height the copies have no loop; a row that is no whole
 * number of them is copied with what comes after it.
 */
static inline void copy_inside(const struct uc_conv *cv, const float *first,
			       size_t rows, float *dst, size_t triples,
			       size_t height)
{
	const size_t step = 3 * QUAD * sizeof(float);
	const size_t before = (triples - 1) * step;
	/* From the last triple of a row to the first of the next. */
	size_t to = (size_t)cv->run * sizeof(float) - before;
	size_t from = (size_t)cv->row_step * sizeof(float) - before;
	size_t pixel_step = (size_t)cv->pixel_step;

	for (; rows; rows--, first += pixel_step) {
		const float *src = first;

		for (size_t ky = height; ky; ky--) {
			for (size_t i = triples - 1; i; i--)
				uc_vec_copy_3(&dst, &src, step, step);
			uc_vec_copy_3(&dst, &src, to, from);
		}
	}
}
static void copy_windows(const struct uc_conv *cv, const float *first,
			 size_t rows, float *dst)
{
	size_t triples = (size_t)(cv->run + 3 * QUAD - 1) / (3 * QUAD);

	size_t height = (size_t)cv->win.kernel_h;

	if (triples == 1 && height == 3) /* 3x3 over up to 4 channels */
		copy_inside(cv, first, rows, dst, 1, 3);
	else if (triples == 2) /* 7x7 over 3 channels, 3x3 over 8 */
		copy_inside(cv, first, rows, dst, 2, height);
	else
		copy_inside(cv, first, rows, dst, triples, height);
}

/* One window, tap by tap, the channels of one group. */
static void copy_taps(const struct uc_conv *cv, const struct uc_conv_pixel *px,
		      float *dst)
{
	/* Copies could alias what cv points at: keep what the loops need. */
	const struct uc_op_window win = cv->win;
	const float *image = px->image;
	int64_t cin_g = cv->cin_g;
	int64_t y = px->y;

	for (int64_t ky = 0; ky < win.kernel_h; ky++, y += win.dilation_h) {
		bool row_in = y >= 0 && y < win.in_h;
		const float *row = row_in ? image + y * win.in_row : image;
		int64_t x = px->x;

		for (int64_t kx = 0; kx < win.kernel_w; kx++) {
			if (row_in && x >= 0 && x < win.in_w)
				copy_floats(dst, row + x * win.in_pixel, cin_g);
			else
				zero_floats(dst, cin_g);
			dst += cin_g;
			x += win.dilation_w;
		}
	}
}

/* A tile's windows, one after another. */
static void copy_tile(const struct uc_conv *cv, struct uc_conv_cursor *cur,
		      size_t rows)
{
	size_t k = (size_t)(cv->win.kernel_h * cv->run);
	float *dst = cv->copies;
	size_t count = 0;

	for (; rows; rows -= count, dst += count * k) {
		const float *first = NULL;
		struct uc_conv_pixel px = {0};

		count = rows;
		if (cv->runs)
			first = uc_conv_take_run(cv, cur, &count);
		if (first) {
			copy_windows(cv, first, count, dst);
			continue;
		}
		count = 1;
		uc_conv_take_tile(cv, cur, &px, count);
		copy_taps(cv, &px, dst);
	}
}

void uc_conv_run_copies(const struct uc_conv *cv,
			const struct uc_conv_segment *seg)
{
	struct uc_conv_cursor cur = {.image = seg->in};
	size_t out_stride = (size_t)cv->win.out_pixel;
	size_t k_bytes = (size_t)(cv->win.kernel_h * cv->run) * sizeof(float);
	size_t rows = 0;

	for (size_t m = 0; m < cv->rows; m += rows) {
		const struct uc_row_kernel *kernel =
			uc_op_row_tile(cv->rows - m, &rows);

		copy_tile(cv, &cur, rows);
		kernel->gemm(rows, seg->nc, k_bytes, cv->copies, k_bytes,
			     seg->weights, seg->out + m * out_stride,
			     out_stride * sizeof(float), UC_PANEL_CHANNEL_BYTES,
			     &cv->act);
	}
}
