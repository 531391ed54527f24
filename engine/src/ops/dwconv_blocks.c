/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Depthwise convolution, several rows of outputs at a time: where the kernels
 * find the rows of the input, and how rows are shared out among them.
 */
#include "dwconv.h"

const struct uc_dwconv_rows_kernel *
uc_dwconv_find_rows(const struct uc_op_window *win)
{
	for (size_t i = 0; i < UC_DWCONV_ROWS_KERNELS; i++) {
		if (uc_op_window_is(win, uc_dwconv_rows[i].kernel,
				    uc_dwconv_rows[i].stride))
			return &uc_dwconv_rows[i];
	}
	return NULL;
}

/* Shares rows out evenly: 7 are 4 + 3, 10 are 4 + 3 + 3. */
static size_t pick_size(const struct uc_dwconv_rows_kernel *kernel, size_t left)
{
	size_t most = kernel->sizes[0].rows;
	size_t share = uc_op_ceil_div(left, uc_op_ceil_div(left, most));
	size_t i = 0;

	while (kernel->sizes[i].rows > share)
		i++;
	return i;
}

static void point_at_rows(const struct uc_dwconv *dw, const float *image,
			  int64_t y, size_t count, struct uc_window_rows *rows)
{
	size_t pixel_bytes = (size_t)dw->win.in_pixel * sizeof(float);

	for (size_t i = 0; i < count; i++, y++) {
		bool inside = y >= 0 && y < dw->win.in_h;

		rows->in[i] = inside ? image + y * dw->win.in_row : dw->zero;
		rows->in_step_bytes[i] = inside ? pixel_bytes : 0;
	}
}

void uc_dwconv_run_rows(const struct uc_dwconv *dw,
			const struct uc_dwconv_rows_kernel *kernel)
{
	const struct uc_op_window *win = &dw->win;
	struct uc_window_rows rows =
		uc_op_window_rows(win, dw->channels, &dw->act);

	rows.w = dw->weights;
	for (int64_t n = 0; n < win->in_n; n++) {
		const float *image = dw->in + n * win->in_image;
		float *out = dw->out + n * win->out_image;
		size_t take = 0;

		for (int64_t oy = 0; oy < win->out_h; oy += (int64_t)take) {
			size_t left = (size_t)(win->out_h - oy);
			size_t i = pick_size(kernel, left);

			take = kernel->sizes[i].rows;
			rows.out = out + oy * win->out_row;
			point_at_rows(
				dw, image, oy * win->stride_h - win->pad_top,
				(take - 1) * kernel->stride + kernel->kernel,
				&rows);
			kernel->sizes[i].run(&rows);
		}
	}
}
