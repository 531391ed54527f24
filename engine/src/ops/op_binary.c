/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ADD, SUB, MUL, DIV and the like, with numpy's broadcasting. Axes along which both operands
 * go on as they began are merged, so that tensors of one shape, a scalar and a
 * vector of channels all become one or two loops around a kernel.
 */
#include "uc_ops.h"

#define AXES 4
#define PATTERN 96 /* floats; a short row is repeated to fill so many */

struct axis {
	size_t size;
	size_t x_stride; /* in elements; 0 where x is broadcast */
	size_t y_stride;
	size_t out_stride;
};

struct binary {
	const struct uc_binary_kernel *kernel;
	struct uc_minmax act;
	struct axis axes[AXES]; /* the innermost first */
};

static bool broadcast_ok(uint32_t a, uint32_t b, uint32_t out)
{
	return (a == out || a == 1) && (b == out || b == 1) &&
	       (a == out || b == out);
}

static bool binary_check(const struct uc_op_shapes *s)
{
	const struct uc_tensor *a = s->a;
	const struct uc_tensor *b = s->b;
	const struct uc_tensor *out = s->out;

	if (!uc_op_act_ok(s->op) || !uc_op_tensor_ok(a) ||
	    !uc_op_tensor_ok(out))
		return false;
	if (s->op->flags & UC_OP_FLAG_SCALAR_OPERAND)
		return !b && uc_op_same_shape(a, out);
	return uc_op_tensor_ok(b) && broadcast_ok(a->n, b->n, out->n) &&
	       broadcast_ok(a->h, b->h, out->h) &&
	       broadcast_ok(a->w, b->w, out->w) &&
	       broadcast_ok(a->c, b->c, out->c);
}

static void merge_axes(struct binary *bin, const struct uc_tensor *x,
		       const struct uc_tensor *y, const struct uc_tensor *out)
{
	const size_t x_size[AXES] = {x->c, x->w, x->h, x->n};
	const size_t y_size[AXES] = {y->c, y->w, y->h, y->n};
	const size_t size[AXES] = {out->c, out->w, out->h, out->n};
	const size_t x_step[AXES] = {1, x->stride_w, x->stride_h, x->stride_n};
	const size_t y_step[AXES] = {1, y->stride_w, y->stride_h, y->stride_n};
	const size_t out_step[AXES] = {1, out->stride_w, out->stride_h,
				       out->stride_n};
	size_t count = 0;

	for (size_t i = 0; i < AXES; i++)
		bin->axes[i] = (struct axis){1, 1, 1, 1};
	for (size_t i = 0; i < AXES; i++) {
		struct axis *last = count ? &bin->axes[count - 1] : NULL;
		struct axis axis = {
			.size = size[i],
			.x_stride = x_size[i] == 1 ? 0 : x_step[i],
			.y_stride = y_size[i] == 1 ? 0 : y_step[i],
			.out_stride = out_step[i],
		};

		if (axis.size == 1)
			continue;
		if (last && axis.x_stride == last->x_stride * last->size &&
		    axis.y_stride == last->y_stride * last->size &&
		    axis.out_stride == last->out_stride * last->size)
			last->size *= axis.size;
		else
			bin->axes[count++] = axis;
	}
	/* Kernels want neighbours: one channel of several is a run of one. There
	 * is room, since the axis of channels was left out. */
	if (bin->axes[0].out_stride > 1 || bin->axes[0].x_stride > 1 ||
	    bin->axes[0].y_stride > 1) {
		for (size_t i = AXES - 1; i > 0; i--)
			bin->axes[i] = bin->axes[i - 1];
		bin->axes[0] = (struct axis){1, 1, 1, 1};
	}
}

static void run_row(const struct binary *bin, size_t count, const float *x,
		    const float *y, float *out)
{
	size_t bytes = count * sizeof(float);

	if (!bin->axes[0].y_stride)
		bin->kernel->scalar(bytes, x, y, out, &bin->act);
	else if (!bin->axes[0].x_stride)
		bin->kernel->reversed_scalar(bytes, y, x, out, &bin->act);
	else
		bin->kernel->vector(bytes, x, y, out, &bin->act);
}

static void fill_pattern(float *pattern, const float *row, size_t size,
			 size_t count)
{
	for (size_t i = 0; i < count; i++)
		pattern[i] = i < size ? row[i] : pattern[i - size];
}

/*
 * Many short rows against one: the one, repeated, against several rows at a
 * time. False when the axes are not of that kind.
 */
static bool run_short_rows(const struct binary *bin, const float *x,
			   const float *y, float *out)
{
	const struct axis *row = &bin->axes[0];
	const struct axis *rows = &bin->axes[1];
	float pattern[PATTERN] = {0};
	bool x_repeats = !rows->x_stride;
	size_t moving = x_repeats ? rows->y_stride : rows->x_stride;
	size_t standing = x_repeats ? rows->x_stride : rows->y_stride;
	size_t step = 0;
	size_t total = row->size * rows->size;

	if (row->size > PATTERN / 2 || !row->x_stride || !row->y_stride ||
	    standing || moving != row->size || rows->out_stride != row->size)
		return false;
	step = PATTERN / row->size * row->size;
	fill_pattern(pattern, x_repeats ? x : y, row->size, step);
	for (size_t i = 0; i < total; i += step) {
		size_t count = total - i < step ? total - i : step;

		if (x_repeats)
			run_row(bin, count, pattern, y + i, out + i);
		else
			run_row(bin, count, x + i, pattern, out + i);
	}
	return true;
}

static void run_axes(const struct binary *bin, const float *x, const float *y,
		     float *out)
{
	const struct axis *axes = bin->axes;
	size_t row = axes[0].size;

	for (size_t i = 0; i < axes[3].size; i++) {
		for (size_t j = 0; j < axes[2].size; j++) {
			const float *xj =
				x + i * axes[3].x_stride + j * axes[2].x_stride;
			const float *yj =
				y + i * axes[3].y_stride + j * axes[2].y_stride;

			float *to = out + i * axes[3].out_stride +
				    j * axes[2].out_stride;

			if (axes[1].size > 1 && run_short_rows(bin, xj, yj, to))
				continue;
			for (size_t k = 0; k < axes[1].size; k++)
				run_row(bin, row, xj + k * axes[1].x_stride,
					yj + k * axes[1].y_stride,
					to + k * axes[1].out_stride);
		}
	}
}

static void binary_run(const struct uc_op_step *step,
		       const struct uc_binary_kernel *kernel)
{
	static const struct uc_tensor scalar = {
		.n = 1,
		.h = 1,
		.w = 1,
		.c = 1,
		.stride_w = 1,
		.stride_h = 1,
		.stride_n = 1,
	};
	const struct uc_op *op = step->s.op;
	bool is_scalar = op->flags & UC_OP_FLAG_SCALAR_OPERAND;
	const struct uc_tensor *b = is_scalar ? &scalar : step->s.b;
	const float *b_data = is_scalar ? &op->alpha : step->b;
	struct binary bin = {.kernel = kernel, .act = uc_op_act(op)};

	if (op->flags & UC_OP_FLAG_REVERSED) {
		merge_axes(&bin, b, step->s.a, step->s.out);
		run_axes(&bin, b_data, step->a, step->out);
	} else {
		merge_axes(&bin, step->s.a, b, step->s.out);
		run_axes(&bin, step->a, b_data, step->out);
	}
}

#define BINARY_OP(name, op_code, op_flags)                                     \
	static void name##_run(const struct uc_op_step *step)                  \
	{                                                                      \
		binary_run(step, &uc_kernels.name);                            \
	}                                                                      \
	const struct uc_op_type uc_op_##name = {                               \
		.code = op_code,                                               \
		.elementwise = true,                                           \
		.second_input = true,                                          \
		.flags = op_flags,                                             \
		.check = binary_check,                                         \
		.panels = uc_op_no_panels,                                     \
		.scratch = uc_op_no_scratch,                                   \
		.run = name##_run,                                             \
	}

#define ORDERED (UC_OP_FLAG_SCALAR_OPERAND | UC_OP_FLAG_REVERSED)

BINARY_OP(add, UC_OP_ADD, UC_OP_FLAG_SCALAR_OPERAND);
BINARY_OP(sub, UC_OP_SUB, ORDERED);
BINARY_OP(mul, UC_OP_MUL, UC_OP_FLAG_SCALAR_OPERAND);
BINARY_OP(div, UC_OP_DIV, ORDERED);
BINARY_OP(minimum, UC_OP_MINIMUM, UC_OP_FLAG_SCALAR_OPERAND);
BINARY_OP(maximum, UC_OP_MAXIMUM, UC_OP_FLAG_SCALAR_OPERAND);
BINARY_OP(prelu, UC_OP_PRELU, ORDERED);
BINARY_OP(power, UC_OP_POWER, ORDERED);
