/* SPDX-License-Identifier: Apache-2.0 */
/* Where the windows of the next tile lie. */
#include "conv.h"

static void next_row(const struct uc_conv *cv, struct uc_conv_cursor *cur)
{
	cur->ox = 0;
	if (++cur->oy < cv->win.out_h)
		return;
	cur->oy = 0;
	cur->image += cv->win.in_image;
}

const float *uc_conv_take_straight(const struct uc_conv *cv,
				   struct uc_conv_cursor *cur, size_t rows)
{
	const struct uc_op_window *win = &cv->win;
	int64_t last = cur->ox + (int64_t)rows - 1;
	int64_t y = cur->oy * win->stride_h - win->pad_top;
	int64_t x = cur->ox * win->stride_w - win->pad_left;
	const float *first = NULL;

	if (last >= win->out_w || y < 0 || y >= cv->end_y || x < 0 ||
	    last * win->stride_w - win->pad_left >= cv->end_x)
		return NULL;
	first = cur->image + y * win->in_row + x * win->in_pixel;
	cur->ox = last + 1;
	if (cur->ox == win->out_w)
		next_row(cv, cur);
	return first;
}

bool uc_conv_take_tile(const struct uc_conv *cv, struct uc_conv_cursor *cur,
		       struct uc_conv_pixel *px, size_t rows)
{
	const struct uc_op_window *win = &cv->win;
	bool inside = true;

	for (size_t i = 0; i < rows; i++) {
		px[i].y = cur->oy * win->stride_h - win->pad_top;
		px[i].x = cur->ox * win->stride_w - win->pad_left;
		px[i].image = cur->image;
		px[i].inside = px[i].y >= 0 && px[i].y < cv->end_y &&
			       px[i].x >= 0 && px[i].x < cv->end_x;
		inside = inside && px[i].inside;
		if (++cur->ox == win->out_w)
			next_row(cv, cur);
	}
	return inside;
}
