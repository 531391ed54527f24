/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UNARY: a function of every element, in place or not. Functions without a
 * kernel of XNNPACK's, or with one that is slower or coarser, are loops over
 * functions.h.
 */
#include "functions.h"
#include "uc_ops.h"

#define CHUNK 4096 /* floats, so that a fused clamp finds them in cache */

/* out[i] = f(x[i]), with the parameters of op; out may be x. */
typedef void unary_fn(const struct uc_op *op, size_t count, const float *x,
		      float *out);

typedef uc_vec vector_fn(uc_vec x, const struct uc_op *op);

/* Two vectors at a time: independent chains for the pipeline. */
UC_VEC_INLINE void for_vectors(vector_fn *function, const struct uc_op *op,
			       size_t count, const float *x, float *out)
{
	size_t i = 0;

	for (; i + 2 * UC_VEC_FLOATS <= count; i += 2 * UC_VEC_FLOATS) {
		const float *next = x + i + UC_VEC_FLOATS;
		uc_vec first = function(uc_vec_load(x + i), op);
		uc_vec second = function(uc_vec_load(next), op);

		uc_vec_store(out + i, first);
		uc_vec_store(out + i + UC_VEC_FLOATS, second);
	}
	for (; i < count; i += UC_VEC_FLOATS) {
		uc_vec y = function(uc_vec_load(x + i), op);

		if (count - i < UC_VEC_FLOATS)
			uc_vec_store_some(out + i, y, count - i);
		else
			uc_vec_store(out + i, y);
	}
}

#define VECTOR_KERNEL(name, expression)                                        \
	UC_VEC_INLINE uc_vec name##_vector(uc_vec x, const struct uc_op *op)   \
	{                                                                      \
		(void)op;                                                      \
		return expression;                                             \
	}                                                                      \
	static void run_##name(const struct uc_op *op, size_t count,           \
			       const float *x, float *out)                     \
	{                                                                      \
		for_vectors(name##_vector, op, count, x, out);                 \
	}

#define TABLE_KERNEL(name)                                                     \
	static void run_##name(const struct uc_op *op, size_t count,           \
			       const float *x, float *out)                     \
	{                                                                      \
		(void)op;                                                      \
		uc_kernels.name(count * sizeof(float), x, out, NULL);          \
	}

TABLE_KERNEL(abs)
TABLE_KERNEL(negate)
TABLE_KERNEL(square)
TABLE_KERNEL(floor)
TABLE_KERNEL(ceil)
TABLE_KERNEL(round)
TABLE_KERNEL(gelu)
TABLE_KERNEL(tanh)

VECTOR_KERNEL(square_root, uc_sqrt(x))
VECTOR_KERNEL(reciprocal, 1.0f / x)
VECTOR_KERNEL(reciprocal_square_root, 1.0f / uc_sqrt(x))
VECTOR_KERNEL(cube, x *x *x)
VECTOR_KERNEL(power_of, uc_power(x, uc_vec_all(op->alpha)))
VECTOR_KERNEL(exp, uc_exp(x))
VECTOR_KERNEL(log, uc_log(x))
VECTOR_KERNEL(erf, uc_erf(x))
VECTOR_KERNEL(sigmoid, uc_sigmoid(x))
VECTOR_KERNEL(silu, uc_silu(x))
VECTOR_KERNEL(gelu_tanh, uc_gelu_tanh(x))
VECTOR_KERNEL(mish, uc_mish(x))
VECTOR_KERNEL(softplus, uc_softplus(x))

static void run_leaky_relu(const struct uc_op *op, size_t count, const float *x,
			   float *out)
{
	uc_kernels.leaky_relu(count * sizeof(float), x, out, &op->alpha);
}

static void run_elu(const struct uc_op *op, size_t count, const float *x,
		    float *out)
{
	struct uc_elu params = {
		.prescale = 1.0f, .alpha = op->alpha, .beta = 1.0f};

	uc_kernels.elu(count * sizeof(float), x, out, &params);
}

static void run_power(const struct uc_op *op, size_t count, const float *x,
		      float *out)
{
	if (op->alpha == 2.0f)
		run_square(op, count, x, out);
	else if (op->alpha == 3.0f)
		run_cube(op, count, x, out);
	else if (op->alpha == 0.5f)
		run_square_root(op, count, x, out);
	else if (op->alpha == -0.5f)
		run_reciprocal_square_root(op, count, x, out);
	else if (op->alpha == -1.0f)
		run_reciprocal(op, count, x, out);
	else
		run_power_of(op, count, x, out);
}

static unary_fn *const functions[] = {
	[UC_UNARY_ABS] = run_abs,
	[UC_UNARY_NEGATE] = run_negate,
	[UC_UNARY_SQUARE] = run_square,
	[UC_UNARY_SQUARE_ROOT] = run_square_root,
	[UC_UNARY_RECIPROCAL] = run_reciprocal,
	[UC_UNARY_RECIPROCAL_SQUARE_ROOT] = run_reciprocal_square_root,
	[UC_UNARY_FLOOR] = run_floor,
	[UC_UNARY_CEIL] = run_ceil,
	[UC_UNARY_ROUND] = run_round,
	[UC_UNARY_EXP] = run_exp,
	[UC_UNARY_LOG] = run_log,
	[UC_UNARY_POWER] = run_power,
	[UC_UNARY_ERF] = run_erf,
	[UC_UNARY_SIGMOID] = run_sigmoid,
	[UC_UNARY_TANH] = run_tanh,
	[UC_UNARY_SILU] = run_silu,
	[UC_UNARY_GELU] = run_gelu,
	[UC_UNARY_GELU_TANH] = run_gelu_tanh,
	[UC_UNARY_MISH] = run_mish,
	[UC_UNARY_SOFTPLUS] = run_softplus,
	[UC_UNARY_LEAKY_RELU] = run_leaky_relu,
	[UC_UNARY_ELU] = run_elu,
};

#define FUNCTIONS (sizeof(functions) / sizeof(functions[0]))

static bool function_check(const struct uc_op_shapes *s)
{
	const struct uc_op *op = s->op;

	/* False for NaN and infinities. */
	return uc_op_elementwise_ok(s) && op->function < FUNCTIONS &&
	       functions[op->function] && op->alpha - op->alpha == 0.0f;
}

static void run_elements(const void *context, size_t count, const float *x,
			 float *out)
{
	const struct uc_op *op = context;
	size_t chunk = uc_op_has_act(op) ? CHUNK : count;

	for (size_t i = 0; i < count; i += chunk) {
		size_t part = count - i < chunk ? count - i : chunk;

		functions[op->function](op, part, x + i, out + i);
		uc_op_apply_act(op, out + i, part);
	}
}

static void function_run(const struct uc_op_step *step)
{
	uc_op_for_runs(step->s.a, step->a, step->s.out, step->out, run_elements,
		       step->s.op);
}

const struct uc_op_type uc_op_function = {
	.code = UC_OP_UNARY,
	.elementwise = true,
	.has_functions = true,
	.check = function_check,
	.panels = uc_op_no_panels,
	.scratch = uc_op_no_scratch,
	.run = function_run,
};
