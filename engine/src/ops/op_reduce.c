/* SPDX-License-Identifier: Apache-2.0 */
/*
 * REDUCE: every channel over h and w. Sixteen channels at a time; a single
 * channel is cut into sixteen columns, which are put together at the end. Sums
 * are taken of blocks of rows first, so that they stay exact over large images.
 */
#include "uc_ops.h"
#include "vec_math.h"

#define COLUMNS 16
#define VECTORS (COLUMNS / UC_VEC_FLOATS)
#define BLOCK_ROWS 64

UC_VEC_INLINE uc_vec combine(uint8_t function, uc_vec total, uc_vec x)
{
	switch (function) {
	case UC_REDUCE_MAX:
		return uc_select(x > total, x, total);
	case UC_REDUCE_MIN:
		return uc_select(x < total, x, total);
	default:
		return total + x;
	}
}

/* The first `rows` rows of up to sixteen columns; reads whole vectors. */
UC_VEC_INLINE void reduce_rows(uint8_t function, const float *x, size_t rows,
			       size_t stride, size_t vectors, uc_vec *total)
{
	bool squares = function == UC_REDUCE_SUM_OF_SQUARES;

	for (size_t row = 0; row < rows; row++, x += stride) {
		for (size_t i = 0; i < vectors; i++) {
			uc_vec v = uc_vec_load(x + i * UC_VEC_FLOATS);

			if (squares)
				v = v * v;
			total[i] = combine(function, total[i], v);
		}
	}
}

static float identity(uint8_t function)
{
	if (function == UC_REDUCE_MAX)
		return -__builtin_inff();
	return function == UC_REDUCE_MIN ? __builtin_inff() : 0.0f;
}

UC_VEC_INLINE void reduce_with(uint8_t function, const float *x, size_t rows,
			       size_t stride, size_t vectors, float *result)
{
	uc_vec whole[VECTORS];

	for (size_t i = 0; i < VECTORS; i++)
		whole[i] = uc_vec_all(identity(function));
	while (rows) {
		size_t part = rows < BLOCK_ROWS ? rows : BLOCK_ROWS;
		uc_vec block[VECTORS];

		for (size_t i = 0; i < VECTORS; i++)
			block[i] = uc_vec_all(identity(function));
		if (vectors == VECTORS)
			reduce_rows(function, x, part, stride, VECTORS, block);
		else
			reduce_rows(function, x, part, stride, vectors, block);
		for (size_t i = 0; i < VECTORS; i++)
			whole[i] = combine(function, whole[i], block[i]);
		x += part * stride;
		rows -= part;
	}
	for (size_t i = 0; i < VECTORS; i++)
		uc_vec_store(result + i * UC_VEC_FLOATS, whole[i]);
}

void uc_op_reduce_columns(uint8_t function, const float *x, size_t rows,
			  size_t stride, size_t columns, float *result)
{
	size_t vectors = (columns + UC_VEC_FLOATS - 1) / UC_VEC_FLOATS;

	switch (function) {
	case UC_REDUCE_MAX:
		reduce_with(UC_REDUCE_MAX, x, rows, stride, vectors, result);
		break;
	case UC_REDUCE_MIN:
		reduce_with(UC_REDUCE_MIN, x, rows, stride, vectors, result);
		break;
	case UC_REDUCE_SUM_OF_SQUARES:
		reduce_with(UC_REDUCE_SUM_OF_SQUARES, x, rows, stride, vectors,
			    result);
		break;
	default:
		reduce_with(UC_REDUCE_SUM, x, rows, stride, vectors, result);
	}
}

static float combine_one(uint8_t function, float total, float x)
{
	return combine(function, uc_vec_all(total), uc_vec_all(x))[0];
}

float uc_op_reduce_run(uint8_t function, const float *x, size_t count)
{
	float columns[COLUMNS] = {0};
	size_t rows = count / COLUMNS;
	float total = identity(function);

	if (rows) {
		uc_op_reduce_columns(function, x, rows, COLUMNS, COLUMNS,
				     columns);
		for (size_t i = 0; i < COLUMNS; i++)
			total = combine_one(function, total, columns[i]);
	}
	for (size_t i = rows * COLUMNS; i < count; i++)
		total = combine_one(function, total,
				    function == UC_REDUCE_SUM_OF_SQUARES
					    ? x[i] * x[i]
					    : x[i]);
	return total;
}

static bool reduce_check(const struct uc_op_shapes *s)
{
	return uc_op_unary_ok(s) && uc_op_dense_ok(s->a) &&
	       uc_op_dense_ok(s->out) && s->out->n == s->a->n &&
	       s->out->h == 1 && s->out->w == 1 && s->out->c == s->a->c &&
	       s->op->function >= UC_REDUCE_SUM &&
	       s->op->function <= UC_REDUCE_SUM_OF_SQUARES;
}

static void reduce_image(const struct uc_op_step *step, const float *x,
			 float *out)
{
	const struct uc_tensor *a = step->s.a;
	uint8_t function = step->s.op->function;
	size_t rows = (size_t)a->h * a->w;
	float scale = 1.0f / (float)rows;
	float result[COLUMNS] = {0};

	if (a->c == 1) {
		result[0] = uc_op_reduce_run(function, x, rows);
		out[0] = function == UC_REDUCE_MEAN ? result[0] * scale
						    : result[0];
		return;
	}
	for (size_t c = 0; c < a->c; c += COLUMNS) {
		size_t columns = a->c - c < COLUMNS ? a->c - c : COLUMNS;

		uc_op_reduce_columns(function, x + c, rows, a->c, columns,
				     result);
		for (size_t i = 0; i < columns; i++)
			out[c + i] = function == UC_REDUCE_MEAN
					     ? result[i] * scale
					     : result[i];
	}
}

static void reduce_run(const struct uc_op_step *step)
{
	const struct uc_tensor *a = step->s.a;

	for (size_t n = 0; n < a->n; n++)
		reduce_image(step, step->a + n * a->stride_n,
			     step->out + n * a->c);
	uc_op_apply_act(step->s.op, step->out, uc_op_elements(step->s.out));
}

const struct uc_op_type uc_op_reduce = {
	.code = UC_OP_REDUCE,
	.has_functions = true,
	.check = reduce_check,
	.panels = uc_op_no_panels,
	.scratch = uc_op_no_scratch,
	.run = reduce_run,
};
