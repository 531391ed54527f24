/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Binary operators and their fused clamp in one pass. XNNPACK of this release
 * has none with a clamp, so that a residual addition and its ReLU were two.
 */
#include <stdbool.h>

#include "binary.h"
#include "functions.h"

#define BLOCK 4 /* vectors to a turn of the loop */

enum operation { ADD, SUB, MUL, DIV, MINIMUM, MAXIMUM, PRELU, POWER };
enum form { VECTOR, SCALAR, REVERSED_SCALAR };

struct kind {
	enum operation operation;
	enum form form;
	bool clamp;
};

UC_VEC_INLINE uc_vec prelu(uc_vec x, uc_vec slope)
{
	return uc_select(x < uc_vec_all(0.0f), x * slope, x);
}

/* x o y, or y o x. */
UC_VEC_INLINE uc_vec apply(struct kind kind, uc_vec x, uc_vec y)
{
	bool reversed = kind.form == REVERSED_SCALAR;

	switch (kind.operation) {
	case ADD:
		return x + y;
	case SUB:
		return reversed ? y - x : x - y;
	case MUL:
		return x * y;
	case MINIMUM:
		return uc_select(y < x, y, x);
	case MAXIMUM:
		return uc_select(y > x, y, x);
	case PRELU:
		return reversed ? prelu(y, x) : prelu(x, y);
	case POWER:
		return reversed ? uc_power(y, x) : uc_power(x, y);
	case DIV:
	default:
		return reversed ? y / x : x / y;
	}
}

UC_VEC_INLINE void run(struct kind kind, size_t bytes, const float *x,
		       const float *y, float *out, const struct uc_minmax *act)
{
	const uc_vec min = uc_vec_all(act->min);
	const uc_vec max = uc_vec_all(act->max);
	const uc_vec scalar = uc_vec_all(*y);
	const bool vector = kind.form == VECTOR;
	size_t count = bytes / sizeof(float);
	uc_vec r[BLOCK];

	for (; count >= BLOCK * UC_VEC_FLOATS; count -= BLOCK * UC_VEC_FLOATS) {
		/* All loads before the stores: out may lie over x or y. */
		UC_VEC_UNROLL
		for (int i = 0; i < BLOCK; i++)
			r[i] = apply(kind, uc_vec_load(x + i * UC_VEC_FLOATS),
				     vector ? uc_vec_load(y + i * UC_VEC_FLOATS)
					    : scalar);
		UC_VEC_UNROLL
		for (int i = 0; i < BLOCK; i++)
			uc_vec_store(out + i * UC_VEC_FLOATS,
				     kind.clamp ? uc_vec_clamp(r[i], min, max)
						: r[i]);
		x += BLOCK * UC_VEC_FLOATS;
		y += vector ? BLOCK * UC_VEC_FLOATS : 0;
		out += BLOCK * UC_VEC_FLOATS;
	}
	for (; count; count -= count < UC_VEC_FLOATS ? count : UC_VEC_FLOATS) {
		r[0] = apply(kind, uc_vec_load(x),
			     vector ? uc_vec_load(y) : scalar);
		if (kind.clamp)
			r[0] = uc_vec_clamp(r[0], min, max);
		if (count < UC_VEC_FLOATS)
			uc_vec_store_some(out, r[0], count);
		else
			uc_vec_store(out, r[0]);
		x += UC_VEC_FLOATS;
		y += vector ? UC_VEC_FLOATS : 0;
		out += UC_VEC_FLOATS;
	}
}

UC_VEC_INLINE void choose(enum operation operation, enum form form,
			  size_t bytes, const float *x, const float *y,
			  float *out, const struct uc_minmax *act)
{
	if (act->min > -__builtin_inff() || act->max < __builtin_inff())
		run((struct kind){operation, form, true}, bytes, x, y, out,
		    act);
	else
		run((struct kind){operation, form, false}, bytes, x, y, out,
		    act);
}

#define DEFINE(name, operation, form)                                          \
	void name(size_t bytes, const float *x, const float *y, float *out,    \
		  const struct uc_minmax *act)                                 \
	{                                                                      \
		choose(operation, form, bytes, x, y, out, act);                \
	}

DEFINE(uc_add_vector, ADD, VECTOR)
DEFINE(uc_add_scalar, ADD, SCALAR)
DEFINE(uc_sub_vector, SUB, VECTOR)
DEFINE(uc_sub_scalar, SUB, SCALAR)
DEFINE(uc_sub_reversed, SUB, REVERSED_SCALAR)
DEFINE(uc_mul_vector, MUL, VECTOR)
DEFINE(uc_mul_scalar, MUL, SCALAR)
DEFINE(uc_div_vector, DIV, VECTOR)
DEFINE(uc_div_scalar, DIV, SCALAR)
DEFINE(uc_div_reversed, DIV, REVERSED_SCALAR)
DEFINE(uc_minimum_vector, MINIMUM, VECTOR)
DEFINE(uc_minimum_scalar, MINIMUM, SCALAR)
DEFINE(uc_maximum_vector, MAXIMUM, VECTOR)
DEFINE(uc_maximum_scalar, MAXIMUM, SCALAR)
DEFINE(uc_prelu_vector, PRELU, VECTOR)
DEFINE(uc_prelu_scalar, PRELU, SCALAR)
DEFINE(uc_prelu_reversed, PRELU, REVERSED_SCALAR)
DEFINE(uc_power_vector, POWER, VECTOR)
DEFINE(uc_power_scalar, POWER, SCALAR)
DEFINE(uc_power_reversed, POWER, REVERSED_SCALAR)
