/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RESIZE_LINEAR: each output pixel lies between two rows and two columns of
 * the input. Which ones, and how far between, stands in tables that come with
 * the weights, so every rule for coordinates is the importer's business. No
 * index in them is trusted: what names no element is filled with alpha.
 */
#include "uc_ops.h"

#define TILE 64	  /* pixels to a call of the kernel */
#define CORNERS 4 /* pointers of a pixel */

/* Of one axis: between `low` and `high` of the input, `weight` of the way. */
struct axis {
	const uint32_t *low;
	const uint32_t *high;
	const float *weight;
	size_t size; /* of the input */
};

static uint64_t table_entries(const struct uc_tensor *out)
{
	return 3 * ((uint64_t)out->h + out->w);
}

static bool resize_check(const struct uc_op_shapes *s)
{
	return uc_op_unary_ok(s) && s->a->n == s->out->n &&
	       s->a->c == s->out->c && s->op->alpha == s->op->alpha;
}

static void resize_panels(const struct uc_op_shapes *s, uint64_t *panel_bytes,
			  uint64_t *panel_count)
{
	uint64_t bytes = table_entries(s->out) * sizeof(uint32_t);

	*panel_bytes = uc_op_ceil_div(bytes, UC_PANEL_CHANNEL_BYTES) *
		       UC_PANEL_CHANNEL_BYTES;
	*panel_count = 1;
}

static uint64_t pointers_bytes(void)
{
	return uc_op_align(8 * CORNERS * TILE);
}

static uint64_t resize_scratch(const struct uc_op_shapes *s)
{
	(void)s;
	return pointers_bytes() + uc_op_align(4 * 2 * TILE + 64);
}

static struct axis axis_of(const uint8_t *panel, size_t first, size_t count,
			   size_t size)
{
	const uint32_t *table = (const uint32_t *)(const void *)panel + first;

	return (struct axis){
		.low = table,
		.high = table + count,
		.weight = (const float *)(const void *)(table + 2 * count),
		.size = size,
	};
}

static bool is_inside(const struct axis *axis, size_t i)
{
	return axis->low[i] < axis->size && axis->high[i] < axis->size;
}

/* Pixels [w, w + count) of a row, all of them inside. */
static void resize_tile(const struct uc_op_step *step, const struct axis *x,
			size_t w, size_t count, const float *const rows[2],
			float weight, float *out)
{
	const struct uc_tensor *a = step->s.a;
	const struct uc_tensor *to = step->s.out;
	const float **corners = (const float **)(void *)step->scratch;
	float *weights = (float *)(void *)(step->scratch + pointers_bytes());

	for (size_t i = 0; i < count; i++) {
		size_t left = x->low[w + i] * a->stride_w;
		size_t right = x->high[w + i] * a->stride_w;

		corners[CORNERS * i] = rows[0] + left;
		corners[CORNERS * i + 1] = rows[0] + right;
		corners[CORNERS * i + 2] = rows[1] + left;
		corners[CORNERS * i + 3] = rows[1] + right;
		weights[2 * i] = x->weight[w + i];
		weights[2 * i + 1] = weight;
	}
	uc_kernels.bilinear(count, to->c * sizeof(float), corners, 0, weights,
			    out + w * to->stride_w,
			    (to->stride_w - to->c) * sizeof(float));
}

static void resize_row(const struct uc_op_step *step, const struct axis *x,
		       const float *const rows[2], float weight, float *out)
{
	const struct uc_tensor *to = step->s.out;
	size_t count = 0;

	for (size_t w = 0; w < to->w; w += count) {
		for (count = 0; count < TILE && w + count < to->w &&
				is_inside(x, w + count);)
			count++;
		if (count) {
			resize_tile(step, x, w, count, rows, weight, out);
			continue;
		}
		for (size_t c = 0; c < to->c; c++)
			out[w * to->stride_w + c] = step->s.op->alpha;
		count = 1;
	}
}

static void resize_run(const struct uc_op_step *step)
{
	const struct uc_tensor *a = step->s.a;
	const struct uc_tensor *to = step->s.out;
	struct axis y = axis_of(step->panels, 0, to->h, a->h);
	struct axis x = axis_of(step->panels, 3 * (size_t)to->h, to->w, a->w);
	/* A row outside is a row of which no pixel is inside. */
	struct axis nowhere = {
		.low = x.low, .high = x.high, .weight = x.weight};

	for (size_t n = 0; n < to->n; n++) {
		const float *image = step->a + n * a->stride_n;

		for (size_t h = 0; h < to->h; h++) {
			bool inside = is_inside(&y, h);
			size_t low = inside ? y.low[h] : 0;
			size_t high = inside ? y.high[h] : 0;
			const float *const rows[2] = {
				image + low * a->stride_h,
				image + high * a->stride_h,
			};

			resize_row(step, inside ? &x : &nowhere, rows,
				   y.weight[h],
				   step->out + n * to->stride_n +
					   h * to->stride_h);
		}
	}
	uc_op_apply_act_to(step->s.op, to, step->out);
}

const struct uc_op_type uc_op_resize_linear = {
	.code = UC_OP_RESIZE_LINEAR,
	.check = resize_check,
	.panels = resize_panels,
	.scratch = resize_scratch,
	.run = resize_run,
};
