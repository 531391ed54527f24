/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NORMALIZE: to mean 0 and variance 1, then a factor and an addend for each
 * channel. The variance is that of the differences from the mean, so a large
 * mean does not spoil it. May run in place.
 */
#include "uc_ops.h"
#include "vec_math.h"

#define COLUMNS 16

/* Factors and addends of a panel, each padded to whole vectors. */
struct affine {
	const float *factor;
	const float *addend;
};

static bool normalize_check(const struct uc_op_shapes *s)
{
	/* The square root of a number that is at least alpha. */
	if (!uc_op_elementwise_ok(s) || !(s->op->alpha >= 0.0f) ||
	    s->op->alpha - s->op->alpha != 0.0f)
		return false;
	return (s->op->function == UC_NORMALIZE_ROWS ||
		s->op->function == UC_NORMALIZE_CHANNELS) &&
	       uc_op_pixels_even(s->a) && uc_op_pixels_even(s->out);
}

static void normalize_panels(const struct uc_op_shapes *s,
			     uint64_t *panel_bytes, uint64_t *panel_count)
{
	*panel_bytes = 2 * UC_PANEL_CHANNEL_BYTES *
		       uc_op_ceil_div(s->a->c, UC_PANEL_CHANNELS);
	*panel_count = 1;
}

static void store_part(float *out, uc_vec y, size_t left)
{
	if (left < UC_VEC_FLOATS)
		uc_vec_store_some(out, y, left);
	else
		uc_vec_store(out, y);
}

static float sum_of_squared_differences(const float *x, size_t count,
					float mean)
{
	uc_vec total[2] = {uc_vec_all(0.0f), uc_vec_all(0.0f)};
	uc_vec center = uc_vec_all(mean);
	float sum = 0.0f;
	size_t i = 0;

	for (; i + 2 * UC_VEC_FLOATS <= count; i += 2 * UC_VEC_FLOATS) {
		uc_vec a = uc_vec_load(x + i) - center;
		uc_vec b = uc_vec_load(x + i + UC_VEC_FLOATS) - center;

		total[0] = uc_fma(a, a, total[0]);
		total[1] = uc_fma(b, b, total[1]);
	}
	total[0] += total[1];
	sum = (total[0][0] + total[0][1]) + (total[0][2] + total[0][3]);
	for (; i < count; i++)
		sum += (x[i] - mean) * (x[i] - mean);
	return sum;
}

static float reciprocal_root(float x)
{
	return (1.0f / uc_sqrt(uc_vec_all(x)))[0];
}

static void normalize_row(const struct uc_op_step *step,
			  const struct affine *affine, const float *x,
			  float *out)
{
	size_t count = step->s.a->c;
	float share = 1.0f / (float)count;
	float mean = uc_op_reduce_run(UC_REDUCE_SUM, x, count) * share;
	float variance = sum_of_squared_differences(x, count, mean) * share;
	uc_vec scale =
		uc_vec_all(reciprocal_root(variance + step->s.op->alpha));
	uc_vec center = uc_vec_all(mean);

	for (size_t i = 0; i < count; i += UC_VEC_FLOATS) {
		uc_vec y = (uc_vec_load(x + i) - center) * scale;

		y = uc_fma(y, uc_vec_load(affine->factor + i),
			   uc_vec_load(affine->addend + i));
		store_part(out + i, y, count - i);
	}
	uc_op_apply_act(step->s.op, out, count);
}

/* Four channels, or the `left` that there are, over all pixels of an image. */
static void normalize_columns(const struct uc_op_step *step, const float *x,
			      float *out, size_t left, const float *sums,
			      const float *factor, const float *addend)
{
	const struct uc_tensor *a = step->s.a;
	size_t rows = (size_t)a->h * a->w;
	size_t stride = a->stride_w;
	size_t out_stride = step->s.out->stride_w;
	float share = 1.0f / (float)rows;
	uc_vec center = uc_vec_load(sums) * share;
	uc_vec variance = uc_vec_all(0.0f);
	uc_vec scale;

	for (size_t row = 0; row < rows;) {
		size_t end = rows - row < 64 ? rows : row + 64;
		uc_vec block = uc_vec_all(0.0f);

		for (; row < end; row++) {
			uc_vec d = uc_vec_load(x + row * stride) - center;

			block = uc_fma(d, d, block);
		}
		variance += block;
	}
	scale = uc_vec_load(factor) /
		uc_sqrt(variance * share + step->s.op->alpha);
	for (size_t row = 0; row < rows; row++) {
		uc_vec d = uc_vec_load(x + row * stride) - center;

		store_part(out + row * out_stride,
			   uc_fma(d, scale, uc_vec_load(addend)), left);
	}
}

static void normalize_image(const struct uc_op_step *step,
			    const struct affine *affine, const float *x,
			    float *out)
{
	size_t channels = step->s.a->c;
	size_t rows = (size_t)step->s.a->h * step->s.a->w;

	for (size_t c = 0; c < channels; c += COLUMNS) {
		size_t end = channels - c < COLUMNS ? channels : c + COLUMNS;
		float sums[COLUMNS] = {0};

		uc_op_reduce_columns(UC_REDUCE_SUM, x + c, rows,
				     step->s.a->stride_w, end - c, sums);
		for (size_t i = c; i < end; i += UC_VEC_FLOATS)
			normalize_columns(step, x + i, out + i, end - i,
					  sums + (i - c), affine->factor + i,
					  affine->addend + i);
	}
}

static void normalize_run(const struct uc_op_step *step)
{
	const struct uc_tensor *a = step->s.a;
	const struct uc_tensor *out = step->s.out;
	size_t padded = (size_t)uc_op_ceil_div(a->c, UC_PANEL_CHANNELS) *
			UC_PANEL_CHANNELS;
	const float *panel = (const float *)(const void *)step->panels;
	struct affine affine = {panel, panel + padded};
	size_t rows = uc_op_rows(a);

	if (step->s.op->function == UC_NORMALIZE_ROWS) {
		for (size_t i = 0; i < rows; i++)
			normalize_row(step, &affine, step->a + i * a->stride_w,
				      step->out + i * out->stride_w);
		return;
	}
	for (size_t n = 0; n < a->n; n++)
		normalize_image(step, &affine, step->a + n * a->stride_n,
				step->out + n * out->stride_n);
	uc_op_apply_act_to(step->s.op, out, step->out);
}

const struct uc_op_type uc_op_normalize = {
	.code = UC_OP_NORMALIZE,
	.elementwise = true,
	.has_functions = true,
	.check = normalize_check,
	.panels = normalize_panels,
	.scratch = uc_op_no_scratch,
	.run = normalize_run,
};
