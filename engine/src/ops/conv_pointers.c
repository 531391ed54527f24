/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolution of many input channels: a table of pointers for each tile,
 * [tap][tile row]; padding points at a row of zeros. Where a kernel row is one
 * run of floats and all windows lie inside, a run is one long tap.
 */
#include "conv.h"

/* Kernels load all pointers of a tile: missing rows repeat the last one. */
static void repeat_last(const float **table, int64_t taps, size_t rows,
			size_t tile_rows)
{
	for (int64_t t = 0; t < taps; t++, table += tile_rows) {
		for (size_t i = rows; i < tile_rows; i++)
			table[i] = table[rows - 1];
	}
}

static void table_column(const struct uc_conv *cv, const float **slot,
			 size_t tile_rows, const float *src)
{
	int64_t height = cv->win.kernel_h;
	int64_t row_step = cv->row_step;

	for (int64_t ky = 0; ky < height; ky++) {
		*slot = src;
		slot += tile_rows;
		src += row_step;
	}
}

static void table_of_taps(const struct uc_conv *cv,
			  const struct uc_conv_pixel *px, size_t rows,
			  size_t tile_rows)
{
	const struct uc_op_window win = cv->win;
	const float *zero = cv->zero;

	for (size_t i = 0; i < rows; i++) {
		const float **slot = cv->table + i;
		int64_t y = px[i].y;

		for (int64_t ky = 0; ky < win.kernel_h; ky++) {
			bool row_in = y >= 0 && y < win.in_h;
			int64_t x = px[i].x;

			for (int64_t kx = 0; kx < win.kernel_w; kx++) {
				bool in = row_in && x >= 0 && x < win.in_w;

				*slot = !in ? zero
					    : px[i].image + y * win.in_row +
							x * win.in_pixel;
				slot += tile_rows;
				x += win.dilation_w;
			}
			y += win.dilation_h;
		}
	}
	repeat_last(cv->table, win.kernel_h * win.kernel_w, rows, tile_rows);
}

/* Fills the table for a tile; true when it is one of runs. */
static bool point_tile(const struct uc_conv *cv, struct uc_conv_cursor *cur,
		       size_t rows, size_t tile_rows)
{
	struct uc_conv_pixel px[UC_MAX_TILE_ROWS] = {0};
	const float *first =
		cv->runs ? uc_conv_take_straight(cv, cur, rows) : NULL;

	if (first) {
		for (size_t i = 0; i < rows; i++) {
			table_column(cv, cv->table + i, tile_rows, first);
			first += cv->pixel_step;
		}
	} else if (uc_conv_take_tile(cv, cur, px, rows) && cv->runs) {
		for (size_t i = 0; i < rows; i++)
			table_column(cv, cv->table + i, tile_rows,
				     uc_conv_first_tap(cv, &px[i]));
	} else {
		table_of_taps(cv, px, rows, tile_rows);
		return false;
	}
	repeat_last(cv->table, cv->win.kernel_h, rows, tile_rows);
	return true;
}

void uc_conv_run_pointers(const struct uc_conv *cv,
			  const struct uc_conv_segment *seg)
{
	struct uc_conv_cursor cur = {.image = seg->in};
	size_t out_stride = (size_t)cv->win.out_pixel;
	size_t rows = 0;

	for (size_t m = 0; m < cv->rows; m += rows) {
		const struct uc_row_kernel *kernel =
			uc_op_row_tile(cv->rows - m, &rows);
		bool runs = point_tile(cv, &cur, rows, kernel->rows);
		size_t taps = (size_t)cv->win.kernel_h;
		size_t k = (size_t)cv->run;

		if (!runs) {
			taps *= (size_t)cv->win.kernel_w;
			k = (size_t)cv->cin_g;
		}
		kernel->igemm(rows, seg->nc, k * sizeof(float),
			      taps * kernel->rows * sizeof(float *), cv->table,
			      seg->weights, seg->out + m * out_stride,
			      out_stride * sizeof(float),
			      UC_PANEL_CHANNEL_BYTES, 0, cv->zero, &cv->act);
	}
}
