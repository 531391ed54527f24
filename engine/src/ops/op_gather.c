/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Along each axis a table says which index of the input an index of the output
 * is: slices with steps, padding, repetition, nearest-neighbour resizing. The
 * tables come with the weights, so no index in them is trusted: what names no
 * element of the input is filled with alpha.
 */
#include "uc_ops.h"

struct gather {
	const struct uc_op_step *step;
	const uint32_t *n, *h, *w, *c; /* the tables */
	bool whole; /* channels are a run of the input's, none missing */
};

/* Elements of the tables of all axes. */
static uint64_t table_entries(const struct uc_tensor *out)
{
	return (uint64_t)out->n + out->h + out->w + out->c;
}

static bool gather_check(const struct uc_op_shapes *s)
{
	/* False for NaN. */
	return uc_op_unary_ok(s) && s->op->alpha == s->op->alpha;
}

static void gather_panels(const struct uc_op_shapes *s, uint64_t *panel_bytes,
			  uint64_t *panel_count)
{
	uint64_t bytes = table_entries(s->out) * sizeof(uint32_t);

	*panel_bytes = uc_op_ceil_div(bytes, UC_PANEL_CHANNEL_BYTES) *
		       UC_PANEL_CHANNEL_BYTES;
	*panel_count = 1;
}

static bool is_run(const uint32_t *table, size_t count, uint32_t end)
{
	bool run = table[0] < end && count <= end - table[0];

	for (size_t i = 1; i < count && run; i++)
		run = table[i] == table[0] + i;
	return run;
}

static void fill(float *out, size_t count, float value)
{
	for (size_t i = 0; i < count; i++)
		out[i] = value;
}

/* How many pixels from w on are neighbours in the input as well. */
static size_t pixels_of_run(const uint32_t *table, size_t left, uint32_t end)
{
	size_t count = 1;

	while (count < left && table[count] == table[0] + count &&
	       table[count] < end)
		count++;
	return count;
}

static void gather_channels(const struct gather *g, const float *in, float *out)
{
	uint32_t end = g->step->s.a->c;

	for (size_t i = 0; i < g->step->s.out->c; i++)
		out[i] = g->c[i] < end ? in[g->c[i]] : g->step->s.op->alpha;
}

/* One row of output pixels from one row of the input. */
static void gather_row(const struct gather *g, const float *in, float *out)
{
	const struct uc_tensor *a = g->step->s.a;
	const struct uc_tensor *to = g->step->s.out;
	/* Pixels whose channels follow one another on both sides. */
	bool merge = g->whole && to->c == a->c && a->stride_w == a->c &&
		     to->stride_w == to->c;
	size_t run = 1;

	for (size_t w = 0; w < to->w; w += run) {
		float *pixel = out + w * to->stride_w;

		run = 1;
		if (g->w[w] >= a->w) {
			fill(pixel, to->c, g->step->s.op->alpha);
			continue;
		}
		const float *from = in + g->w[w] * a->stride_w;

		if (merge)
			run = pixels_of_run(g->w + w, to->w - w, a->w);
		if (g->whole)
			__builtin_memcpy(pixel, from + g->c[0],
					 run * to->c * sizeof(float));
		else
			gather_channels(g, from, pixel);
	}
}

static void fill_row(const struct uc_tensor *to, float *out, float value)
{
	for (size_t w = 0; w < to->w; w++)
		fill(out + w * to->stride_w, to->c, value);
}

static void copy_row(const struct uc_tensor *to, const float *from, float *out)
{
	size_t run = to->stride_w == to->c ? to->w : 1;

	for (size_t w = 0; w < to->w; w += run)
		__builtin_memcpy(out + w * to->stride_w,
				 from + w * to->stride_w,
				 run * to->c * sizeof(float));
}

static void gather_image(const struct gather *g, const float *in, float *out)
{
	const struct uc_tensor *a = g->step->s.a;
	const struct uc_tensor *to = g->step->s.out;

	for (size_t h = 0; h < to->h; h++) {
		float *row = out + h * to->stride_h;

		if (g->h[h] >= a->h)
			fill_row(to, row, g->step->s.op->alpha);
		else if (h > 0 && g->h[h] == g->h[h - 1])
			copy_row(to, row - to->stride_h, row);
		else
			gather_row(g, in + g->h[h] * a->stride_h, row);
	}
}

static void gather_run(const struct uc_op_step *step)
{
	const struct uc_tensor *a = step->s.a;
	const struct uc_tensor *to = step->s.out;
	struct gather g = {
		.step = step,
		.n = (const uint32_t *)(const void *)step->panels,
	};

	g.h = g.n + to->n;
	g.w = g.h + to->h;
	g.c = g.w + to->w;
	g.whole = is_run(g.c, to->c, a->c);
	for (size_t n = 0; n < to->n; n++) {
		float *image = step->out + n * to->stride_n;

		if (g.n[n] < a->n) {
			gather_image(&g, step->a + g.n[n] * a->stride_n, image);
			continue;
		}
		for (size_t h = 0; h < to->h; h++)
			fill_row(to, image + h * to->stride_h,
				 step->s.op->alpha);
	}
	uc_op_apply_act_to(step->s.op, to, step->out);
}

const struct uc_op_type uc_op_gather = {
	.code = UC_OP_GATHER,
	.check = gather_check,
	.panels = gather_panels,
	.scratch = uc_op_no_scratch,
	.run = gather_run,
};
