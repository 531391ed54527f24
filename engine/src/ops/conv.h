/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the convolution share (conv_*.c, op_conv2d.c): a tile is
 * what one call of a kernel takes, some output pixels in the order of storage.
 */
#ifndef UC_CONV_H
#define UC_CONV_H

#include "uc_ops.h"

struct uc_conv {
	struct uc_op_window win;
	struct uc_minmax act;
	int64_t cin_g;
	int64_t cout_g;
	size_t rows; /* output pixels of the batch */
	const float **table;
	const float *zero;
	float *copies;
	int64_t run;	      /* floats of a kernel row, of one group */
	int64_t row_step;     /* from a kernel row to the next, in floats */
	int64_t pixel_step;   /* from an output pixel to the next */
	int64_t end_y, end_x; /* windows that start before end inside */
	bool runs; /* a kernel row is one run of floats in the input */
};

/* Panels of one group: where they read and write. */
struct uc_conv_segment {
	const float *in; /* first channel of the group */
	float *out;	 /* first channel of the panels */
	const float *weights;
	size_t nc;
};

/* The window of one output pixel: its first tap, maybe in the padding. */
struct uc_conv_pixel {
	int64_t y;
	int64_t x;
	const float *image;
	bool inside;
};

struct uc_conv_cursor {
	int64_t oy;
	int64_t ox;
	const float *image;
};

static inline const float *uc_conv_first_tap(const struct uc_conv *cv,
					     const struct uc_conv_pixel *px)
{
	return px->image + px->y * cv->win.in_row + px->x * cv->win.in_pixel;
}

/*
 * The first tap of a tile of `rows` pixels when they lie in one row of the
 * output and all their windows inside the input; they then follow one another
 * at pixel_step. Else NULL, and nothing is taken.
 */
const float *uc_conv_take_straight(const struct uc_conv *cv,
				   struct uc_conv_cursor *cur, size_t rows);
/* The same for the pixels, 1 to *rows of them, that do so from here on; NULL
 * when the next one does not. */
const float *uc_conv_take_run(const struct uc_conv *cv,
			      struct uc_conv_cursor *cur, size_t *rows);
/* Takes any `rows` pixels; true when every window lies inside the input. */
bool uc_conv_take_tile(const struct uc_conv *cv, struct uc_conv_cursor *cur,
		       struct uc_conv_pixel *px, size_t rows);

void uc_conv_run_copies(const struct uc_conv *cv,
			const struct uc_conv_segment *seg);
void uc_conv_run_pointers(const struct uc_conv *cv,
			  const struct uc_conv_segment *seg);

#endif /* UC_CONV_H */
