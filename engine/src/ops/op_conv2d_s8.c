/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolution of 8-bit activations: a tile of output pixels at a time, their
 * rows found through pointers. Where the channels of a tap are no whole blocks,
 * or few, windows are copied into scratch rows first. Padding is the zero point.
 */
#include "s8.h"

#define COPY_CHANNELS 8
#define MOST_ROWS UC_MAX_TILE_ROWS

struct conv {
	struct uc_op_window win;
	const int8_t *in;
	int64_t cin_g, cout_g;
	size_t taps;
	size_t blocks; /* of a window */
	int8_t zero;
	const int8_t **table; /* [tap][MOST_ROWS] */
	int8_t *padding;
	int8_t *copies;
};

static uint64_t taps_of(const struct uc_op *op)
{
	return (uint64_t)op->kernel_h * op->kernel_w;
}

static bool copies(const struct uc_op *op, uint64_t cin_g)
{
	return cin_g % UC_QS8_BLOCK != 0 ||
	       (cin_g <= COPY_CHANNELS && taps_of(op) > 1);
}

static bool conv_check(const struct uc_op_shapes *s)
{
	const struct uc_op *op = s->op;

	return uc_s8_unary_ok(s) && uc_op_window_ok(op) && op->groups &&
	       s->a->c % op->groups == 0 && s->out->c % op->groups == 0 &&
	       uc_s8_conv_size_ok(s);
}

static uint64_t blocks_of(const struct uc_op_shapes *s)
{
	return uc_op_ceil_div(taps_of(s->op) * (s->a->c / s->op->groups),
			      UC_QS8_BLOCK);
}

static void conv_panels(const struct uc_op_shapes *s, uint64_t *panel_bytes,
			uint64_t *panel_count)
{
	*panel_bytes = 2 * UC_PANEL_CHANNEL_BYTES +
		       blocks_of(s) * UC_PANEL_CHANNELS * UC_QS8_BLOCK;
	*panel_count = s->op->groups * uc_op_ceil_div(s->out->c / s->op->groups,
						      UC_PANEL_CHANNELS);
}

static uint64_t table_bytes(const struct uc_op *op)
{
	return uc_op_align(8 * MOST_ROWS * taps_of(op));
}

static uint64_t padding_bytes(uint64_t cin_g)
{
	return uc_op_align(cin_g + 64);
}

static uint64_t conv_scratch(const struct uc_op_shapes *s)
{
	uint64_t cin_g = s->a->c / s->op->groups;
	uint64_t bytes = table_bytes(s->op) + padding_bytes(cin_g);

	if (copies(s->op, cin_g))
		bytes += uc_op_align(MOST_ROWS * UC_QS8_BLOCK * blocks_of(s));
	return bytes;
}

struct pixel {
	int64_t oy, ox;
	const int8_t *image;
};

/* The output pixel of a running number, of one group of input channels. */
static struct pixel pixel_of(const struct conv *cv, const int8_t *in,
			     size_t number)
{
	const struct uc_op_window *win = &cv->win;
	int64_t row = (int64_t)number / win->out_w;
	int64_t n = row / win->out_h;
	struct pixel px = {
		.oy = row % win->out_h,
		.ox = (int64_t)number % win->out_w,
		.image = in + n * win->in_h * win->in_w * win->in_c,
	};

	return px;
}

static void next_pixel(const struct conv *cv, struct pixel *px)
{
	const struct uc_op_window *win = &cv->win;

	if (++px->ox < win->out_w)
		return;
	px->ox = 0;
	if (++px->oy < win->out_h)
		return;
	px->oy = 0;
	px->image += win->in_h * win->in_w * win->in_c;
}

static void point_window(const struct conv *cv, const struct pixel *px,
			 const int8_t **slot)
{
	const struct uc_op_window win = cv->win;
	int64_t element = 0;

	for (int64_t ky = 0; ky < win.kernel_h; ky++) {
		for (int64_t kx = 0; kx < win.kernel_w; kx++) {
			bool in = uc_s8_tap(&win, px->oy, px->ox, ky, kx,
					    &element);

			*slot = in ? px->image + element : cv->padding;
			slot += MOST_ROWS;
		}
	}
}

static void copy_window(const struct conv *cv, const struct pixel *px,
			int8_t *to)
{
	const struct uc_op_window win = cv->win;
	int8_t *end = to + cv->blocks * UC_QS8_BLOCK;
	int64_t cin_g = cv->cin_g;
	int64_t element = 0;

	for (int64_t ky = 0; ky < win.kernel_h; ky++) {
		for (int64_t kx = 0; kx < win.kernel_w; kx++) {
			bool in = uc_s8_tap(&win, px->oy, px->ox, ky, kx,
					    &element);
			const int8_t *from =
				in ? px->image + element : cv->padding;

			for (int64_t c = 0; c < cin_g; c++)
				to[c] = from[c];
			to += cin_g;
		}
	}
	while (to < end)
		*to++ = 0;
}

/* Rows first ... of one group's panels. */
static void run_panels(const struct conv *cv, const int8_t *in, bool copied,
		       struct uc_qs8_gemm *g, size_t pixels)
{
	const struct uc_qs8_row_kernel *kernel = uc_kernels.qs8->rows;
	struct pixel px = pixel_of(cv, in, 0);
	int8_t *c = g->c;

	g->taps = copied ? 1 : cv->taps;
	g->blocks = copied ? cv->blocks : (size_t)cv->cin_g / UC_QS8_BLOCK;
	g->a = cv->table;
	g->a_stride = MOST_ROWS;
	for (size_t left = pixels; left; left -= kernel->rows) {
		while (kernel->rows > left)
			kernel++;
		for (size_t i = 0; i < kernel->rows; i++) {
			int8_t *row =
				cv->copies + i * cv->blocks * UC_QS8_BLOCK;

			if (copied) {
				copy_window(cv, &px, row);
				cv->table[i] = row;
			} else {
				point_window(cv, &px, cv->table + i);
			}
			next_pixel(cv, &px);
		}
		g->rows = kernel->rows;
		g->c = c;
		kernel->gemm(g);
		c += kernel->rows * g->c_stride;
	}
}

static struct conv conv_of(const struct uc_op_step *step)
{
	const struct uc_op *op = step->s.op;
	uint8_t *scratch = step->scratch;
	struct conv cv = {
		.win = uc_op_window_of(&step->s),
		.in = uc_s8_in(step->a),
		.cin_g = step->s.a->c / op->groups,
		.cout_g = step->s.out->c / op->groups,
		.taps = taps_of(op),
		.blocks = blocks_of(&step->s),
		.zero = (int8_t)op->a_quant.zero,
	};

	cv.table = (const int8_t **)(void *)scratch;
	scratch += table_bytes(op);
	cv.padding = (int8_t *)scratch;
	__builtin_memset(cv.padding, cv.zero,
			 padding_bytes((uint64_t)cv.cin_g));
	cv.copies = (int8_t *)scratch + padding_bytes((uint64_t)cv.cin_g);
	return cv;
}

static void conv_run(const struct uc_op_step *step)
{
	const struct uc_op *op = step->s.op;
	struct conv cv = conv_of(step);
	bool copied = copies(op, (uint64_t)cv.cin_g);
	uint32_t group_panels = (uint32_t)uc_op_ceil_div((uint64_t)cv.cout_g,
							 UC_PANEL_CHANNELS);
	uint32_t end = step->first_panel + step->panel_count;
	const uint8_t *panels = step->panels;
	int8_t *out = (int8_t *)(void *)step->out;

	for (uint32_t p = step->first_panel; p < end;) {
		uint32_t group = p / group_panels;
		uint32_t first = p % group_panels;
		uint32_t count = group_panels - first;
		int64_t channel = (int64_t)first * UC_PANEL_CHANNELS;
		struct uc_qs8_gemm g = {
			.panels = panels,
			.c = out + group * cv.cout_g + channel,
			.c_stride = step->s.out->c,
			.out = uc_s8_out(op),
		};

		if (count > end - p)
			count = end - p;
		g.nc = (size_t)count * UC_PANEL_CHANNELS;
		if (g.nc > (size_t)(cv.cout_g - channel))
			g.nc = (size_t)(cv.cout_g - channel);
		run_panels(&cv, cv.in + group * cv.cin_g, copied, &g,
			   uc_op_rows(step->s.out));
		panels += (size_t)count * op->panel_bytes;
		p += count;
	}
}

const struct uc_op_type uc_op_conv2d_s8 = {
	.code = UC_OP_CONV_2D_S8,
	.check = conv_check,
	.panels = conv_panels,
	.scratch = conv_scratch,
	.run = conv_run,
};
