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

/* Pixels from the cursor on, at most `most`, of one row of the output, whose
 * windows all lie inside the input. */
static size_t straight(const struct uc_conv *cv,
		       const struct uc_conv_cursor *cur, size_t most)
{
	const struct uc_op_window *win = &cv->win;
	int64_t y = cur->oy * win->stride_h - win->pad_top;
	int64_t x = cur->ox * win->stride_w - win->pad_left;
	int64_t count = (int64_t)most;

	if (y < 0 || y >= cv->end_y || x < 0 || x >= cv->end_x)
		return 0;
	if (count > win->out_w - cur->ox)
		count = win->out_w - cur->ox;
	/* A division only where a tile meets the right border. */
	if (x + (count - 1) * win->stride_w >= cv->end_x)
		count = (cv->end_x - x - 1) / win->stride_w + 1;
	return (size_t)count;
}

static const float *take(const struct uc_conv *cv, struct uc_conv_cursor *cur,
			 size_t count)
{
	const struct uc_op_window *win = &cv->win;
	int64_t y = cur->oy * win->stride_h - win->pad_top;
	int64_t x = cur->ox * win->stride_w - win->pad_left;
	const float *first = cur->image + y * win->in_row + x * win->in_pixel;

	cur->ox += (int64_t)count;
	if (cur->ox == win->out_w)
		next_row(cv, cur);
	return first;
}

const float *uc_conv_take_run(const struct uc_conv *cv,
			      struct uc_conv_cursor *cur, size_t *rows)
{
	size_t count = straight(cv, cur, *rows);

	if (!count)
		return NULL;
	*rows = count;
	return take(cv, cur, count);
}

const float *uc_conv_take_straight(const struct uc_conv *cv,
				   struct uc_conv_cursor *cur, size_t rows)
{
	if (straight(cv, cur, rows) != rows)
		return NULL;
	return take(cv, cur, rows);
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
