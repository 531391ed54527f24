/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolution of few input channels: the windows of a tile, copied one after
 * another, are the rows of a matrix. The kernels need fewer instructions for
 * one long row than for many short taps (docs/kernels.md).
 */
#include "conv.h"

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

/* Windows inside the input, pixel_step apart, a kernel row at a time; with
 * constant `quads` the copies have no loop. */
static inline void copy_inside(const struct uc_conv *cv, const float *first,
			       size_t rows, float *dst, int64_t quads)
{
	int64_t height = cv->win.kernel_h;
	int64_t run = cv->run;
	int64_t row_step = cv->row_step;
	int64_t pixel_step = cv->pixel_step;

	for (size_t i = 0; i < rows; i++) {
		const float *src = first;

		for (int64_t ky = 0; ky < height; ky++) {
			copy_quads(dst, src, quads);
			dst += run;
			src += row_step;
		}
		first += pixel_step;
	}
}

static void copy_windows(const struct uc_conv *cv, const float *first,
			 size_t rows, float *dst)
{
	int64_t quads = (cv->run + QUAD - 1) / QUAD;

	switch (quads) {
	case 3: /* 3x3 over 3 or 4 channels */
		copy_inside(cv, first, rows, dst, 3);
		break;
	case 4: /* 5x5 over 3 channels */
		copy_inside(cv, first, rows, dst, 4);
		break;
	case 6: /* 7x7 over 3 channels, 3x3 over 8 */
		copy_inside(cv, first, rows, dst, 6);
		break;
	default:
		copy_inside(cv, first, rows, dst, quads);
	}
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

static void copy_border_tile(const struct uc_conv *cv,
			     struct uc_conv_cursor *cur, size_t rows)
{
	struct uc_conv_pixel px[UC_MAX_TILE_ROWS] = {0};
	size_t k = (size_t)(cv->win.kernel_h * cv->run);

	uc_conv_take_tile(cv, cur, px, rows);
	for (size_t i = 0; i < rows; i++) {
		float *dst = cv->copies + i * k;

		if (cv->runs && px[i].inside)
			copy_windows(cv, uc_conv_first_tap(cv, &px[i]), 1, dst);
		else
			copy_taps(cv, &px[i], dst);
	}
}

/* A tile's windows, one after another. */
static void copy_tile(const struct uc_conv *cv, struct uc_conv_cursor *cur,
		      size_t rows)
{
	const float *first =
		cv->runs ? uc_conv_take_straight(cv, cur, rows) : NULL;

	if (first)
		copy_windows(cv, first, rows, cv->copies);
	else
		copy_border_tile(cv, cur, rows);
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
