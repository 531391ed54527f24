/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The property that matters most: a program that the checker accepts runs
 * clean, whatever its weights and inputs are. A program is made up from the
 * fuzzer's bytes, mostly right, then changed at random; what is accepted is
 * loaded and run twice, with every operator watched. Then it is placed anew,
 * with memory of its own for every tensor: the answer must be the same to the
 * bit, so whatever the checker let share memory was right to do so.
 *
 * Nearly all of the time goes into running. With FUZZ_RUN_ONE_IN=n in the
 * environment only every n-th accepted program is run, and the checker sees
 * many times as many.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "help_fuzz.h"
#include "help_model.h"

#define MAX_ARENA (1U << 19)
#define MAX_WORK (UINT64_C(1) << 22)

static const uint16_t codes[] = {
	UC_OP_CONV_2D,
	UC_OP_CONV_2D,
	UC_OP_DEPTHWISE_CONV_2D,
	UC_OP_FULLY_CONNECTED,
	UC_OP_ADD,
	UC_OP_SUB,
	UC_OP_MUL,
	UC_OP_DIV,
	UC_OP_CLAMP,
	UC_OP_HARD_SIGMOID,
	UC_OP_HARD_SWISH,
	UC_OP_MAX_POOL_2D,
	UC_OP_AVERAGE_POOL_2D,
	UC_OP_GLOBAL_AVERAGE_POOL,
	UC_OP_SOFTMAX,
	UC_OP_TRANSPOSE,
	UC_OP_CONSTANT,
	UC_OP_UNARY,
	UC_OP_UNARY,
	UC_OP_REDUCE,
	UC_OP_ARG_MAX,
	UC_OP_NORMALIZE,
	UC_OP_LOCAL_RESPONSE_NORM,
	UC_OP_MATRIX_MULTIPLY,
	UC_OP_MINIMUM,
	UC_OP_MAXIMUM,
	UC_OP_PRELU,
	UC_OP_POWER,
	UC_OP_GATHER,
	UC_OP_RESIZE_LINEAR,
};

static unsigned long run_one_in = 1;

static uint8_t function_of(struct fuzz_bytes *bytes, uint16_t code)
{
	uint8_t number = fuzz_u8(bytes);

	switch (code) {
	case UC_OP_SOFTMAX:
		return number % 2 ? UC_SOFTMAX_LOG : UC_SOFTMAX_PLAIN;
	case UC_OP_REDUCE:
		return 1 + number % UC_REDUCE_SUM_OF_SQUARES;
	case UC_OP_NORMALIZE:
		return 1 + number % UC_NORMALIZE_CHANNELS;
	default:
		return 1 + number % UC_UNARY_ELU;
	}
}

static uint32_t some_dim(struct fuzz_bytes *bytes)
{
	return 1 + fuzz_upto(bytes, fuzz_one_in(bytes, 8) ? 70 : 12);
}

static uint32_t windows(uint32_t in, uint32_t pads, uint32_t kernel,
			uint32_t stride, uint32_t dilation)
{
	uint32_t reach = dilation * (kernel - 1) + 1;

	return in + pads < reach ? 1 : (in + pads - reach) / stride + 1;
}

static void some_window(struct fuzz_bytes *bytes, struct uc_op *op)
{
	bool large = fuzz_one_in(bytes, 16);

	op->kernel_h = (uint16_t)(1 + fuzz_upto(bytes, large ? 9 : 4));
	op->kernel_w = (uint16_t)(1 + fuzz_upto(bytes, large ? 9 : 4));
	op->stride_h = (uint16_t)(1 + fuzz_upto(bytes, 2));
	op->stride_w = (uint16_t)(1 + fuzz_upto(bytes, 2));
	if (fuzz_one_in(bytes, 4)) {
		op->dilation_h = (uint16_t)(1 + fuzz_upto(bytes, 2));
		op->dilation_w = (uint16_t)(1 + fuzz_upto(bytes, 2));
	}
	op->pad_top = (uint16_t)fuzz_upto(bytes, op->kernel_h);
	op->pad_left = (uint16_t)fuzz_upto(bytes, op->kernel_w);
	op->pad_bottom = (uint16_t)fuzz_upto(bytes, op->kernel_h);
	op->pad_right = (uint16_t)fuzz_upto(bytes, op->kernel_w);
}

static uint16_t some_tensor(struct fuzz_bytes *bytes,
			    const struct help_model *model, uint16_t count)
{
	/* The latest ones more often. */
	uint32_t back = fuzz_upto(bytes, fuzz_one_in(bytes, 3) ? 7 : 1);

	(void)model;
	return (uint16_t)(count - 1 - back % count);
}

/* A box of the tensor made last: rows, channels, or anything. */
static void some_view(struct fuzz_bytes *bytes, struct help_model *model)
{
	uint16_t last = (uint16_t)(model->program.tensor_count - 1);
	uint16_t root = last;
	const struct uc_tensor *t = &model->tensors[last];
	uint32_t kind = fuzz_upto(bytes, 5);
	uint32_t origin[4] = {0};
	uint32_t dims[4] = {0};

	if (kind < 3)
		return;
	if (t->parent != UC_NO_TENSOR)
		root = t->parent;
	t = &model->tensors[root];
	dims[0] = t->n;
	dims[1] = t->h;
	dims[2] = t->w;
	dims[3] = t->c;
	for (uint32_t i = 0; i < 4; i++) {
		if (kind == 5 || (kind == 3 && i == 1) ||
		    (kind == 4 && i == 3)) {
			origin[i] = fuzz_upto(bytes, dims[i] - 1);
			dims[i] = 1 + fuzz_upto(bytes, dims[i] - origin[i] - 1);
		}
	}
	(void)help_view(model, root, origin, dims);
}

/*
 * A tensor for what an operator computes: a root; or rows or channels of one
 * that is larger, whose other part is written by a copy of something.
 */
static uint16_t some_output(struct fuzz_bytes *bytes, struct help_model *model,
			    const struct uc_tensor *out)
{
	const uint32_t dims[4] = {out->n, out->h, out->w, out->c};
	uint32_t whole[4] = {out->n, out->h, out->w, out->c};
	uint32_t origin[4] = {0};
	uint32_t axis = 1 + fuzz_upto(bytes, 2);
	uint16_t root = 0;
	uint16_t more = 0;

	if (!fuzz_one_in(bytes, 5))
		return help_tensor(model, out->n, out->h, out->w, out->c);
	/* The other part is as large, so that it can be a copy of a tensor. */
	more = some_tensor(bytes, model, model->program.tensor_count);
	if (model->tensors[more].dtype != UC_DTYPE_F32 ||
	    model->tensors[more].n != out->n ||
	    model->tensors[more].h != out->h ||
	    model->tensors[more].w != out->w ||
	    model->tensors[more].c != out->c)
		return help_tensor(model, out->n, out->h, out->w, out->c);
	whole[axis] *= 2;
	root = help_tensor(model, whole[0], whole[1], whole[2], whole[3]);
	if (fuzz_one_in(bytes, 2))
		origin[axis] = dims[axis];
	(void)help_op(model, UC_OP_CLAMP, more, UC_NO_TENSOR,
		      help_view(model, root, origin, dims));
	origin[axis] = dims[axis] - origin[axis];
	return help_view(model, root, origin, dims);
}

/* The weights of the operator made last come out of a tensor. */
static void hold_weights(struct help_model *model)
{
	struct uc_program *program = &model->program;
	struct uc_op last = model->ops[program->op_count - 1];
	const struct uc_op_shapes shapes = {
		.op = &last,
		.a = last.input_a == UC_NO_TENSOR
			     ? NULL
			     : &model->tensors[last.input_a],
		.b = last.input_b == UC_NO_TENSOR
			     ? NULL
			     : &model->tensors[last.input_b],
		.out = &model->tensors[last.output],
	};
	uint64_t panel_bytes = 0;
	uint64_t panel_count = 0;
	struct uc_op *load = NULL;
	uint16_t held = 0;

	(void)uc_op_panels(uc_op_find(last.code), &shapes, &panel_bytes,
			   &panel_count);
	if (last.code == UC_OP_CONSTANT || panel_count == 0 ||
	    panel_bytes * panel_count > MAX_ARENA / 8)
		return;
	program->op_count--;
	held = help_tensor(model, 1, 1, 1,
			   (uint32_t)(panel_bytes * panel_count / 4));
	load = help_op(model, UC_OP_CONSTANT, UC_NO_TENSOR, UC_NO_TENSOR, held);
	load->panel_bytes = (uint32_t)panel_bytes;
	last.weights = held;
	*help_op(model, last.code, last.input_a, last.input_b, last.output) =
		last;
}

/* Shapes and attributes that an operator could have; most of them good. */
static void some_op(struct fuzz_bytes *bytes, struct help_model *model)
{
	uint16_t count = model->program.tensor_count;
	uint16_t op_count = model->program.op_count;
	uint16_t code = codes[fuzz_u8(bytes) % (sizeof(codes) / 2)];
	uint16_t a = some_tensor(bytes, model, count);
	uint16_t b = UC_NO_TENSOR;
	struct uc_tensor in = model->tensors[a];
	struct uc_tensor out = in;
	struct uc_op op = {.groups = 1};
	struct uc_op *made = NULL;
	uint16_t id = 0;

	op.kernel_h = op.kernel_w = op.stride_h = op.stride_w = 1;
	op.dilation_h = op.dilation_w = 1;
	switch (code) {
	case UC_OP_CONV_2D:
	case UC_OP_DEPTHWISE_CONV_2D:
		some_window(bytes, &op);
		if (code == UC_OP_DEPTHWISE_CONV_2D) {
			op.groups = in.c;
		} else {
			op.groups = 1 + fuzz_upto(bytes, 3);
			if (in.c % op.groups != 0)
				op.groups = fuzz_one_in(bytes, 2) ? in.c : 1;
			out.c = op.groups * (1 + fuzz_upto(bytes, 20));
		}
		break;
	case UC_OP_MAX_POOL_2D:
	case UC_OP_AVERAGE_POOL_2D:
		some_window(bytes, &op);
		op.dilation_h = op.dilation_w = 1;
		if (fuzz_one_in(bytes, 2) && code == UC_OP_AVERAGE_POOL_2D)
			op.flags = UC_OP_FLAG_COUNT_INCLUDE_PAD;
		break;
	case UC_OP_FULLY_CONNECTED:
		out.c = some_dim(bytes);
		break;
	case UC_OP_GLOBAL_AVERAGE_POOL:
		out.h = out.w = 1;
		break;
	case UC_OP_TRANSPOSE: {
		const uint32_t dims[4] = {in.n, in.h, in.w, in.c};
		uint32_t *outs[4] = {&out.n, &out.h, &out.w, &out.c};
		uint32_t turn = fuzz_u8(bytes);

		for (uint32_t i = 0; i < 4; i++)
			op.permutation[i] = (uint16_t)i;
		for (uint32_t i = 3; i > 0; i--) {
			uint32_t j = turn % (i + 1);
			uint16_t kept = op.permutation[i];

			turn /= i + 1;
			op.permutation[i] = op.permutation[j];
			op.permutation[j] = kept;
		}
		for (uint32_t i = 0; i < 4; i++)
			*outs[i] = dims[op.permutation[i]];
		break;
	}
	case UC_OP_CONSTANT:
		a = UC_NO_TENSOR;
		out.n = out.h = out.w = 1;
		out.c = some_dim(bytes);
		op.panel_bytes = 32U * (1 + fuzz_upto(bytes, 3));
		break;
	case UC_OP_GATHER:
		out.n = 1 + fuzz_upto(bytes, 2);
		out.h = some_dim(bytes);
		out.w = some_dim(bytes);
		out.c = some_dim(bytes);
		break;
	case UC_OP_RESIZE_LINEAR:
		out.h = some_dim(bytes);
		out.w = some_dim(bytes);
		break;
	case UC_OP_REDUCE:
		out.h = out.w = 1;
		break;
	case UC_OP_ARG_MAX:
		out.c = 1;
		break;
	case UC_OP_LOCAL_RESPONSE_NORM:
		op.kernel_w = (uint16_t)(1 + fuzz_upto(bytes, 8));
		break;
	case UC_OP_MATRIX_MULTIPLY:
		/* Shapes seldom fit, but for those of one and the same. */
		b = fuzz_one_in(bytes, 2) ? some_tensor(bytes, model, count)
					  : a;
		op.flags = fuzz_one_in(bytes, 4) ? 0 : UC_OP_FLAG_TRANSPOSED;
		out.c = op.flags ? model->tensors[b].w : model->tensors[b].c;
		break;
	case UC_OP_MINIMUM:
	case UC_OP_MAXIMUM:
	case UC_OP_PRELU:
	case UC_OP_POWER:
	case UC_OP_ADD:
	case UC_OP_SUB:
	case UC_OP_MUL:
	case UC_OP_DIV:
		if (fuzz_one_in(bytes, 3)) {
			op.flags = UC_OP_FLAG_SCALAR_OPERAND;
		} else {
			b = some_tensor(bytes, model, count);
			if (model->tensors[b].n > out.n)
				out.n = model->tensors[b].n;
			if (model->tensors[b].h > out.h)
				out.h = model->tensors[b].h;
			if (model->tensors[b].w > out.w)
				out.w = model->tensors[b].w;
			if (model->tensors[b].c > out.c)
				out.c = model->tensors[b].c;
		}
		if (fuzz_one_in(bytes, 4))
			op.flags |= UC_OP_FLAG_REVERSED;
		break;
	default:
		break;
	}
	if (code != UC_OP_TRANSPOSE && a != UC_NO_TENSOR &&
	    code != UC_OP_GLOBAL_AVERAGE_POOL && code != UC_OP_GATHER &&
	    code != UC_OP_REDUCE && code != UC_OP_LOCAL_RESPONSE_NORM &&
	    code != UC_OP_RESIZE_LINEAR && b == UC_NO_TENSOR) {
		out.h = windows(in.h, (uint32_t)op.pad_top + op.pad_bottom,
				op.kernel_h, op.stride_h, op.dilation_h);
		out.w = windows(in.w, (uint32_t)op.pad_left + op.pad_right,
				op.kernel_w, op.stride_w, op.dilation_w);
		if (fuzz_one_in(bytes, 16))
			out.h++;
	}
	if ((uint64_t)out.n * out.h * out.w * out.c > MAX_ARENA / 8)
		return;

	id = some_output(bytes, model, &out);
	made = help_op(model, code, a, b, id);
	op.code = code;
	op.input_a = a;
	op.input_b = b;
	op.output = id;
	op.weights = UC_NO_TENSOR;
	op.act_min = fuzz_one_in(bytes, 3) ? 0.0f : made->act_min;
	op.act_max = fuzz_one_in(bytes, 3) ? 6.0f : made->act_max;
	if (uc_op_find(code)->int8_weights && fuzz_one_in(bytes, 3))
		op.weights_format = UC_WEIGHTS_INT8;
	op.alpha = (float)(int8_t)fuzz_u8(bytes) / 32.0f;
	op.beta = (float)(int8_t)fuzz_u8(bytes) / 32.0f;
	if (uc_op_find(code)->has_functions)
		op.function = function_of(bytes, code);
	op.flags &= uc_op_find(code)->flags;
	*made = op;
	/* An operator that cannot be has no plan: leave it out. */
	const struct uc_op_shapes shapes = {
		.op = made,
		.a = a == UC_NO_TENSOR ? NULL : &model->tensors[a],
		.b = b == UC_NO_TENSOR ? NULL : &model->tensors[b],
		.out = &model->tensors[id],
	};
	if (!uc_op_find(code)->check(&shapes)) {
		model->program.op_count = op_count;
		model->program.tensor_count = count;
		return;
	}
	if (fuzz_one_in(bytes, 4))
		hold_weights(model);
	some_view(bytes, model);
}

static const uint16_t codes_s8[] = {
	UC_OP_LOOKUP_S8,      UC_OP_CONV_2D_S8,
	UC_OP_CONV_2D_S8,     UC_OP_DEPTHWISE_CONV_2D_S8,
	UC_OP_ADD_S8,	      UC_OP_MUL_S8,
	UC_OP_MAX_POOL_2D_S8, UC_OP_AVERAGE_POOL_2D_S8,
};

static struct uc_quantisation some_quant(struct fuzz_bytes *bytes)
{
	struct uc_quantisation quant = {
		.scale = (float)(1 + fuzz_u8(bytes)) / 512.0f,
		.zero = (int8_t)fuzz_u8(bytes),
	};

	return quant;
}

static bool add_if_possible(struct help_model *model, const struct uc_op *op)
{
	const struct uc_op_shapes shapes = {
		.op = op,
		.a = &model->tensors[op->input_a],
		.b = op->input_b == UC_NO_TENSOR ? NULL
						 : &model->tensors[op->input_b],
		.out = &model->tensors[op->output],
	};

	if (!uc_op_find(op->code)->check(&shapes)) {
		model->program.tensor_count--;
		return false;
	}
	*help_op(model, op->code, op->input_a, op->input_b, op->output) = *op;
	return true;
}

/* One operator on 8-bit integers; returns what it computes, or its input. */
static uint16_t some_op_s8(struct fuzz_bytes *bytes, struct help_model *model,
			   uint16_t a)
{
	struct uc_tensor out = model->tensors[a];
	struct uc_op op = {
		.code = codes_s8[fuzz_u8(bytes) % (sizeof(codes_s8) / 2)],
		.input_a = a,
		.input_b = UC_NO_TENSOR,
		.weights = UC_NO_TENSOR,
		.groups = 1,
		.kernel_h = 1,
		.kernel_w = 1,
		.stride_h = 1,
		.stride_w = 1,
		.dilation_h = 1,
		.dilation_w = 1,
		.act_min = -128.0f,
		.act_max = 127.0f,
		.a_quant = some_quant(bytes),
		.out_quant = some_quant(bytes),
	};

	if (fuzz_one_in(bytes, 3))
		op.act_min = (float)op.out_quant.zero;
	if (uc_op_find(op.code)->second_input) {
		op.input_b = a;
		op.b_quant = some_quant(bytes);
	} else if (op.code != UC_OP_LOOKUP_S8) {
		some_window(bytes, &op);
	}
	switch (op.code) {
	case UC_OP_CONV_2D_S8:
		op.groups = 1 + fuzz_upto(bytes, 2);
		if (out.c % op.groups != 0)
			op.groups = 1;
		out.c = op.groups * (1 + fuzz_upto(bytes, 20));
		break;
	case UC_OP_DEPTHWISE_CONV_2D_S8:
		op.groups = out.c;
		break;
	case UC_OP_MAX_POOL_2D_S8:
		op.out_quant = op.a_quant;
		op.dilation_h = op.dilation_w = 1;
		break;
	case UC_OP_AVERAGE_POOL_2D_S8:
		op.dilation_h = op.dilation_w = 1;
		if (fuzz_one_in(bytes, 2))
			op.flags = UC_OP_FLAG_COUNT_INCLUDE_PAD;
		break;
	default:
		break;
	}
	out.h = windows(out.h, (uint32_t)op.pad_top + op.pad_bottom,
			op.kernel_h, op.stride_h, op.dilation_h);
	out.w = windows(out.w, (uint32_t)op.pad_left + op.pad_right,
			op.kernel_w, op.stride_w, op.dilation_w);
	op.output = help_tensor_s8(model, out.n, out.h, out.w, out.c);
	return add_if_possible(model, &op) ? op.output : a;
}

/* From f32 to 8 bits, some operators there, and back. */
static void some_chain_s8(struct fuzz_bytes *bytes, struct help_model *model)
{
	uint16_t a = some_tensor(bytes, model, model->program.tensor_count);
	const struct uc_tensor *t = &model->tensors[a];
	uint32_t ops = 1 + fuzz_upto(bytes, 3);
	struct uc_op op = {
		.code = UC_OP_QUANTIZE,
		.input_a = a,
		.input_b = UC_NO_TENSOR,
		.weights = UC_NO_TENSOR,
		.act_min = -128.0f,
		.act_max = 127.0f,
		.out_quant = some_quant(bytes),
	};

	if (t->dtype != UC_DTYPE_F32 || uc_tensor_span(t) != t->bytes)
		return;
	op.output = help_tensor_s8(model, t->n, t->h, t->w, t->c);
	if (!add_if_possible(model, &op))
		return;
	a = op.output;
	for (uint32_t i = 0; i < ops; i++)
		a = some_op_s8(bytes, model, a);
	t = &model->tensors[a];
	op.code = UC_OP_DEQUANTIZE;
	op.input_a = a;
	op.a_quant = some_quant(bytes);
	op.out_quant = (struct uc_quantisation){0};
	op.act_min = -INFINITY;
	op.act_max = INFINITY;
	op.output = help_tensor(model, t->n, t->h, t->w, t->c);
	(void)add_if_possible(model, &op);
}

/* What was computed last leaves and comes back. */
static void some_spill(struct fuzz_bytes *bytes, struct help_model *model)
{
	uint16_t count = model->program.tensor_count;
	uint16_t from = some_tensor(bytes, model, count);
	const struct uc_tensor *t = &model->tensors[from];
	struct uc_op *fill = NULL;
	uint32_t slot = 0;
	uint16_t to = 0;

	if (uc_tensor_span(t) != t->bytes || t->dtype != UC_DTYPE_F32)
		return;
	for (uint16_t i = 0; i < model->program.op_count; i++) {
		const struct uc_op *op = &model->ops[i];

		if (op->code == UC_OP_SPILL)
			slot += (uint32_t)(model->tensors[op->input_a].bytes +
					   HELP_PAGE_BYTES - 1) /
				HELP_PAGE_BYTES;
	}
	(void)help_op(model, UC_OP_SPILL, from, UC_NO_TENSOR, UC_NO_TENSOR);
	to = help_tensor(model, t->n, t->h, t->w, t->c);
	fill = help_op(model, UC_OP_FILL, UC_NO_TENSOR, UC_NO_TENSOR, to);
	fill->spill_page = slot;
}

static bool reads_one(const struct help_model *model, uint16_t operand,
		      uint16_t tensor)
{
	return operand == tensor || (operand != UC_NO_TENSOR &&
				     model->tensors[operand].parent == tensor);
}

static bool reads(const struct help_model *model, const struct uc_op *op,
		  uint16_t tensor)
{
	return reads_one(model, op->input_a, tensor) ||
	       reads_one(model, op->input_b, tensor) ||
	       reads_one(model, op->weights, tensor);
}

/* A view that no operator uses is copied, so that it has a use. */
static void without_unused_views(struct help_model *model)
{
	uint16_t count = model->program.tensor_count;

	for (uint16_t i = 0; i < count; i++) {
		struct uc_tensor view = model->tensors[i];
		bool used = view.parent == UC_NO_TENSOR;

		for (uint16_t j = 0; j < model->program.op_count; j++)
			used = used || model->ops[j].output == i ||
			       reads(model, &model->ops[j], i);
		if (!used)
			(void)help_op(model, UC_OP_CLAMP, i, UC_NO_TENSOR,
				      help_tensor(model, view.n, view.h, view.w,
						  view.c));
	}
}

/* Tensors that nobody reads become outputs. */
static void some_outputs(struct help_model *model)
{
	for (uint16_t i = 0; i < model->program.tensor_count; i++) {
		bool read = model->tensors[i].parent != UC_NO_TENSOR;

		for (uint16_t j = 0; j < model->program.op_count; j++)
			read = read || reads(model, &model->ops[j], i);
		if (!read && model->program.output_count < UC_MAX_IO)
			help_output(model, i, i % 2);
	}
}

static void move_root(struct help_model *model, uint16_t root, uint64_t offset)
{
	uint64_t before = model->tensors[root].offset;

	model->tensors[root].offset = offset;
	for (uint16_t i = 0; i < model->program.tensor_count; i++) {
		if (model->tensors[i].parent == root)
			model->tensors[i].offset += offset - before;
	}
}

/* Some tensors go where others were; whether they may is not our business. */
static void some_sharing(struct fuzz_bytes *bytes, struct help_model *model)
{
	for (uint16_t i = 1; i < model->program.tensor_count; i++) {
		uint16_t other = some_tensor(bytes, model, i);

		if (fuzz_one_in(bytes, 3) &&
		    model->tensors[i].parent == UC_NO_TENSOR)
			move_root(model, i, model->tensors[other].offset);
	}
}

static bool make_model(struct fuzz_bytes *bytes, struct help_model *model)
{
	uint32_t inputs = 1 + fuzz_upto(bytes, 1);
	uint32_t ops = 1 + fuzz_upto(bytes, 6);

	help_init(model);
	model->resident_percent = fuzz_upto(bytes, 100);
	model->step_percent = fuzz_upto(bytes, 100);
	model->window_extra = 64 * fuzz_upto(bytes, 100);
	for (uint32_t i = 0; i < inputs; i++) {
		uint32_t n = 1 + fuzz_upto(bytes, 1);
		uint32_t h = some_dim(bytes);
		uint32_t w = some_dim(bytes);

		help_input(model, help_tensor(model, n, h, w, some_dim(bytes)),
			   fuzz_u8(bytes) % 2);
	}
	for (uint32_t i = 0; i < ops; i++) {
		some_op(bytes, model);
		if (fuzz_one_in(bytes, 4))
			some_chain_s8(bytes, model);
		if (fuzz_one_in(bytes, 8))
			some_spill(bytes, model);
	}
	without_unused_views(model);
	some_outputs(model);
	if (model->program.op_count == 0)
		return false;
	help_plan(model);
	some_sharing(bytes, model);
	return model->program.arena_bytes <= MAX_ARENA;
}

/* Offset and size of the fields of a record that say where and how much. */
struct field {
	uint8_t offset;
	uint8_t bytes;
};

static const struct field header_fields[] = {
	{32, 8}, {40, 8}, {48, 8}, {56, 8}, {64, 8}, {72, 8}, {80, 8}, {88, 4},
};

static const struct field tensor_fields[] = {
	{0, 4},	 {4, 4},  {8, 4},  {12, 4}, {16, 8}, {16, 8}, {24, 8}, {32, 2},
	{34, 2}, {37, 1}, {38, 2}, {40, 4}, {44, 4}, {48, 4}, {52, 4},
};

static const struct field op_fields[] = {
	{0, 2},	  {2, 2},   {4, 2},  {6, 2},   {8, 2},	 {10, 2},  {28, 2},
	{30, 2},  {32, 2},  {34, 2}, {36, 2},  {38, 2},	 {40, 2},  {42, 2},
	{44, 2},  {46, 2},  {48, 4}, {52, 4},  {56, 4},	 {60, 4},  {64, 8},
	{72, 8},  {80, 4},  {84, 2}, {86, 2},  {88, 2},	 {90, 2},  {92, 2},
	{94, 1},  {95, 1},  {96, 4}, {100, 4}, {104, 4}, {108, 4}, {112, 1},
	{113, 1}, {114, 1},
};

#define PICK(bytes, fields)                                                    \
	(fields[fuzz_u8(bytes) % (sizeof(fields) / sizeof(fields[0]))])

static void change_field(struct fuzz_bytes *bytes, uint8_t *at, uint32_t len,
			 const uint8_t *same_elsewhere)
{
	static const int32_t steps[] = {1,    -1,    8,	   -8,	 32,
					-32,  64,    -64,  128,	 -128,
					1024, -1024, 4096, -4096};
	uint64_t value = 0;
	uint32_t kind = fuzz_upto(bytes, 15);

	memcpy(&value, at, len);
	if (kind < 9)
		value += (uint64_t)(int64_t)PICK(bytes, steps);
	else if (kind < 12)
		memcpy(&value, same_elsewhere, len);
	else if (kind < 13)
		value = 0;
	else if (kind < 14)
		value /= 2;
	else if (kind < 15)
		value = UINT64_MAX - 63;
	else
		value = fuzz_u32(bytes);
	memcpy(at, &value, len);
}

/* Change some of the encoded program: fields, or any bytes. */
static void damage(struct fuzz_bytes *bytes, struct help_model *model)
{
	const struct uc_program *p = &model->program;
	uint8_t *tensors = model->plain + 192;
	uint8_t *ops = tensors + p->tensor_count * UC_TENSOR_RECORD_BYTES;
	uint32_t changes = fuzz_upto(bytes, 3);

	for (uint32_t i = 0; i < changes; i++) {
		uint32_t kind = fuzz_upto(bytes, 7);
		uint32_t one = fuzz_u8(bytes);
		uint32_t other = fuzz_u8(bytes);
		struct field field = {0, 0};

		if (kind == 0) {
			model->plain[fuzz_u16(bytes) % p->program_bytes] =
				fuzz_u8(bytes);
		} else if (kind < 3) {
			field = PICK(bytes, header_fields);
			change_field(bytes, model->plain + field.offset,
				     field.bytes,
				     model->plain +
					     PICK(bytes, header_fields).offset);
		} else if (kind < 5) {
			one = one % p->tensor_count * UC_TENSOR_RECORD_BYTES;
			other = other % p->tensor_count *
				UC_TENSOR_RECORD_BYTES;
			field = PICK(bytes, tensor_fields);
			change_field(bytes, tensors + one + field.offset,
				     field.bytes,
				     tensors + other + field.offset);
		} else {
			one = one % p->op_count * UC_OP_RECORD_BYTES;
			other = other % p->op_count * UC_OP_RECORD_BYTES;
			field = PICK(bytes, op_fields);
			change_field(bytes, ops + one + field.offset,
				     field.bytes, ops + other + field.offset);
		}
	}
}

static uint64_t work_of(const struct uc_program *program)
{
	uint64_t work = 0;

	for (uint32_t i = 0; i < program->op_count; i++) {
		struct uc_op op = {0};
		struct uc_tensor out = {0};
		uint64_t panels = 0;

		uc_program_op(program, i, &op);
		if (op.output >= program->tensor_count)
			continue;
		uc_program_tensor(program, op.output, &out);
		/* Of int8 weights there are up to four in the same bytes. */
		panels = (uint64_t)op.panel_bytes * op.panel_count;
		if (op.weights_format == UC_WEIGHTS_F32)
			panels /= 4;
		work += out.bytes * (1 + (uint64_t)op.kernel_h * op.kernel_w) +
			panels * out.n * out.h * out.w;
	}
	return work;
}

/* Tables of small numbers, most of which are indices of something. */
static void some_tables(struct fuzz_bytes *bytes, struct help_model *model)
{
	const struct uc_program *p = &model->program;
	uint8_t *resident =
		model->plain + (size_t)model->program_pages * p->page_bytes;
	uint8_t *stream =
		resident + (size_t)model->resident_pages * p->page_bytes;

	for (uint32_t i = 0; i < p->op_count; i++) {
		const struct uc_op *op = &model->ops[i];
		bool tables = op->code == UC_OP_GATHER ||
			      op->code == UC_OP_RESIZE_LINEAR;
		uint8_t *to = op->resident_panels
				      ? resident + op->resident_offset
				      : stream + op->stream_offset;
		uint32_t most = 1 + fuzz_upto(bytes, 12);

		if (!tables || op->weights != UC_NO_TENSOR)
			continue;
		for (uint32_t j = 0; j < op->panel_bytes / 4; j++) {
			uint32_t index = (j + i) % most;

			memcpy(to + (size_t)4 * j, &index, 4);
		}
	}
}

/* Memory for everything, and a window through which nothing need be moved. */
static void place_generously(struct help_model *model)
{
	struct uc_program *program = &model->program;

	for (uint32_t i = 0; i < program->op_count; i++) {
		const struct uc_op *op = &model->ops[i];
		const struct uc_op_shapes shapes = {
			.op = op,
			.a = op->input_a == UC_NO_TENSOR
				     ? NULL
				     : &model->tensors[op->input_a],
			.b = op->input_b == UC_NO_TENSOR
				     ? NULL
				     : &model->tensors[op->input_b],
			.out = op->output == UC_NO_TENSOR
				       ? NULL
				       : &model->tensors[op->output],
		};
		uint64_t scratch = program->page_bytes;

		if (op->code != UC_OP_SPILL && op->code != UC_OP_FILL)
			scratch = uc_op_scratch(uc_op_find(op->code), &shapes);
		if (program->scratch_bytes < scratch)
			program->scratch_bytes = scratch;
	}
	program->window_bytes =
		program->stream_bytes + 2 * (uint64_t)program->page_bytes;
	help_place(model);
	help_encode(model);
}

static bool is_worth_running(struct help_model *model,
			     const struct uc_program_limits *limits)
{
	struct uc_program program = {0};
	uint32_t detail = 0;

	if (uc_program_check(&program, model->plain,
			     (size_t)model->program_pages * HELP_PAGE_BYTES,
			     limits, &detail) != UC_ST_OK)
		return false;
	if (work_of(&program) > MAX_WORK)
		return false;
	/* What the harness reads back is the program as it is now. */
	model->program = program;
	for (uint32_t i = 0; i < program.tensor_count; i++)
		uc_program_tensor(&program, i, &model->tensors[i]);
	for (uint32_t i = 0; i < program.op_count; i++)
		uc_program_op(&program, i, &model->ops[i]);
	for (uint16_t i = 0; i < program.input_count; i++)
		model->inputs[i] = uc_program_input(&program, i);
	for (uint16_t i = 0; i < program.output_count; i++)
		model->outputs[i] = uc_program_output(&program, i);
	return true;
}

static float *run(struct help_model *model, uint32_t pages)
{
	struct help_device device = {0};
	float *outputs = calloc(help_output_elements(model), 4);

	CHECK(outputs);
	help_seal(model);
	help_device_init(&device, model->program.arena_bytes);
	help_guard(device.memory, device.len);
	CHECK_EQUAL(help_open(&device, model), UC_ST_OK);
	CHECK_EQUAL(help_push_wanted(&device, model, pages), UC_ST_OK);
	for (uint32_t i = 0; i < 2; i++)
		help_infer(&device, model, 5, pages, outputs);
	help_guard(NULL, 0);
	help_device_free(&device);
	return outputs;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *text = getenv("FUZZ_RUN_ONE_IN");

	(void)argc;
	(void)argv;
	if (text)
		run_one_in = strtoul(text, NULL, 10);
	CHECK(run_one_in != 0);
	return 0;
}

static bool is_its_turn(void)
{
	static unsigned long accepted;

	return ++accepted % run_one_in == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct help_model model;
	struct fuzz_bytes bytes = {data, len};
	struct uc_program_limits limits = {.page_bytes = HELP_PAGE_BYTES};
	uint32_t pages = 0;

	if (!make_model(&bytes, &model))
		return 0;
	pages = 1 + fuzz_upto(&bytes, 5);
	help_fill(&model, fuzz_u32(&bytes));
	if (!fuzz_one_in(&bytes, 4))
		some_tables(&bytes, &model);
	if (fuzz_one_in(&bytes, 4)) {
		/* Weights need not be numbers. */
		size_t program = (size_t)model.program_pages * HELP_PAGE_BYTES;

		if (model.program.resident_bytes != 0)
			memset(model.plain + program, 0xFF,
			       model.program.resident_bytes);
		if (model.program.stream_bytes != 0)
			memset(model.plain + program +
				       (size_t)model.resident_pages *
					       HELP_PAGE_BYTES,
			       0x7F, model.program.stream_bytes);
	}
	limits.program_pages = model.program_pages;
	limits.resident_pages = model.resident_pages;
	limits.streamed_pages = model.streamed_pages;
	limits.arena_bytes = model.program.arena_bytes;
	damage(&bytes, &model);
	if (is_worth_running(&model, &limits) && is_its_turn()) {
		float *outputs = NULL;
		float *alone = NULL;

		fuzz_count_deep();
		outputs = run(&model, pages);
		place_generously(&model);
		alone = run(&model, 1000);
		CHECK(memcmp(outputs, alone,
			     4 * help_output_elements(&model)) == 0);
		free(outputs);
		free(alone);
	}
	help_free(&model);
	return 0;
}
