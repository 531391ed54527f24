/* SPDX-License-Identifier: Apache-2.0 */
/* Maxima of the usual windows, by the kernels that go along rows of outputs. */
#include "uc_ops.h"

static int64_t nearest(int64_t i, int64_t size)
{
	if (i < 0)
		return 0;
	return i < size ? i : size - 1;
}

static uc_window_rows_fn *find_max_pool(const struct uc_op_window *win)
{
	if (win->in_c % UC_QUAD)
		return NULL;
	for (size_t i = 0; i < UC_MAXPOOL_ROWS_KERNELS; i++) {
		if (uc_op_window_is(win, uc_maxpool_rows[i].kernel,
				    uc_maxpool_rows[i].stride))
			return uc_maxpool_rows[i].run;
	}
	return NULL;
}

/* Rows in the padding are the nearest ones, which the window holds as well. */
static void run_rows(const struct uc_op_step *step,
		     const struct uc_op_window *win, uc_window_rows_fn *kernel)
{
	struct uc_minmax act = uc_op_act(step->s.op);
	struct uc_window_rows rows =
		uc_op_window_rows(win, (size_t)win->in_c, &act);

	rows.in_step_bytes[0] = (size_t)win->in_pixel * sizeof(float);
	for (int64_t n = 0; n < win->in_n; n++) {
		const float *image = step->a + n * win->in_image;

		for (int64_t oy = 0; oy < win->out_h; oy++) {
			int64_t y = oy * win->stride_h - win->pad_top;

			for (int64_t ky = 0; ky < win->kernel_h; ky++)
				rows.in[ky] =
					image + nearest(y + ky, win->in_h) *
							win->in_row;
			rows.out = step->out + n * win->out_image +
				   oy * win->out_row;
			kernel(&rows);
		}
	}
}

bool uc_op_max_pool_rows(const struct uc_op_step *step)
{
	struct uc_op_window win = uc_op_window_of(&step->s);
	uc_window_rows_fn *kernel = find_max_pool(&win);

	if (kernel)
		run_rows(step, &win, kernel);
	return kernel != NULL;
}
