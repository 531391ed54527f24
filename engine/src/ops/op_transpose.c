/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any permutation of four axes: axes that stay neighbours are merged, and what
 * remains is a loop over contiguous copies or over matrix transpositions.
 */
#include "uc_ops.h"

#define AXES 4

struct axis {
	size_t size;
	size_t in_stride; /* in elements, as all strides here */
	size_t out_stride;
};

static bool transpose_check(const struct uc_op_shapes *s)
{
	uint32_t seen = 0;

	if (!uc_op_unary_ok(s) || !uc_op_dense_ok(s->a) ||
	    !uc_op_dense_ok(s->out))
		return false;
	const uint32_t in[AXES] = {s->a->n, s->a->h, s->a->w, s->a->c};
	const uint32_t out[AXES] = {s->out->n, s->out->h, s->out->w, s->out->c};

	for (size_t i = 0; i < AXES; i++) {
		uint16_t from = s->op->permutation[i];

		if (from >= AXES || out[i] != in[from])
			return false;
		seen |= 1U << from;
	}
	return seen == (1U << AXES) - 1;
}

/* The axes in the order of the output, the last one first; without those of
 * size 1, neighbours merged. At least one. */
static size_t merge_axes(const struct uc_op_step *step, struct axis *axes)
{
	const struct uc_tensor *a = step->s.a;
	const size_t size[AXES] = {a->n, a->h, a->w, a->c};
	const size_t stride[AXES] = {(size_t)a->h * a->w * a->c,
				     (size_t)a->w * a->c, a->c, 1};
	size_t count = 0;
	size_t out_stride = 1;

	for (size_t i = AXES; i-- > 0;) {
		size_t from = step->s.op->permutation[i];
		struct axis *last = count ? &axes[count - 1] : NULL;

		if (size[from] == 1)
			continue;
		if (last && stride[from] == last->in_stride * last->size) {
			last->size *= size[from];
		} else {
			axes[count].size = size[from];
			axes[count].in_stride = stride[from];
			axes[count].out_stride = out_stride;
			count++;
		}
		out_stride *= size[from];
	}
	if (!count) {
		axes[0] = (struct axis){1, 1, 1};
		count = 1;
	}
	return count;
}

/* The axis that is contiguous in the input. */
static size_t find_contiguous(const struct axis *axes, size_t count)
{
	size_t i = 0;

	while (i + 1 < count && axes[i].in_stride != 1)
		i++;
	return i;
}

static void run_block(const float *in, float *out, const struct axis *last,
		      const struct axis *first)
{
	if (last == first)
		__builtin_memcpy(out, in, last->size * sizeof(float));
	else
		uc_kernels.transpose((const uint32_t *)(const void *)in,
				     (uint32_t *)(void *)out,
				     last->in_stride * sizeof(float),
				     first->out_stride * sizeof(float),
				     first->size, last->size);
}

static void transpose_run(const struct uc_op_step *step)
{
	struct axis axes[AXES] = {0};
	size_t count = merge_axes(step, axes);
	size_t contiguous = find_contiguous(axes, count);
	struct axis loops[AXES - 1] = {
		{1, 0, 0},
		{1, 0, 0},
		{1, 0, 0},
	};
	size_t depth = 0;

	for (size_t i = 1; i < count; i++) {
		if (i != contiguous)
			loops[depth++] = axes[i];
	}
	for (size_t i = 0; i < loops[2].size; i++) {
		for (size_t j = 0; j < loops[1].size; j++) {
			const float *in = step->a + i * loops[2].in_stride +
					  j * loops[1].in_stride;
			float *out = step->out + i * loops[2].out_stride +
				     j * loops[1].out_stride;

			for (size_t k = 0; k < loops[0].size; k++) {
				run_block(in, out, &axes[0], &axes[contiguous]);
				in += loops[0].in_stride;
				out += loops[0].out_stride;
			}
		}
	}
	uc_op_apply_act(step->s.op, step->out, uc_op_elements(step->s.out));
}

const struct uc_op_type uc_op_transpose = {
	.code = UC_OP_TRANSPOSE,
	.check = transpose_check,
	.panels = uc_op_no_panels,
	.scratch = uc_op_no_scratch,
	.run = transpose_run,
};
