/* SPDX-License-Identifier: Apache-2.0 */
/* Windows for the kernels that go along rows of outputs. */
#include "uc_ops.h"

bool uc_op_window_is(const struct uc_op_window *win, uint32_t kernel,
		     uint32_t stride)
{
	return win->kernel_h == kernel && win->kernel_w == kernel &&
	       win->stride_h == stride && win->stride_w == stride &&
	       win->dilation_h == 1 && win->dilation_w == 1 &&
	       win->pad_left + stride <= kernel &&
	       win->in_w + win->pad_left >= kernel;
}

struct uc_window_rows uc_op_window_rows(const struct uc_op_window *win,
					size_t channels,
					const struct uc_minmax *act)
{
	int64_t inside =
		(win->in_w + win->pad_left - win->kernel_w) / win->stride_w + 1;
	int64_t before = win->kernel_w - win->stride_w - win->pad_left;
	struct uc_window_rows rows = {
		.pad_left = (size_t)win->pad_left,
		.columns = (size_t)(win->in_w - before),
		.inside = (size_t)(inside < win->out_w ? inside : win->out_w),
		.pixels = (size_t)win->out_w,
		.quads = channels / UC_QUAD,
		.out_pixel = (size_t)win->out_pixel,
		.out_row = (size_t)win->out_row,
		.act = *act,
	};

	return rows;
}
