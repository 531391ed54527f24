/* SPDX-License-Identifier: Apache-2.0 */
#include "help_model.h"

#include <math.h>
#include <string.h>

#include <openssl/evp.h>

#include "help_check.h"

static uint64_t aligned(uint64_t value)
{
	return (value + UC_ARENA_ALIGN_BYTES - 1) / UC_ARENA_ALIGN_BYTES *
	       UC_ARENA_ALIGN_BYTES;
}

static uint32_t pages_of(uint64_t bytes, uint32_t page_bytes)
{
	return (uint32_t)((bytes + page_bytes - 1) / page_bytes);
}

uint32_t help_random(uint32_t *state)
{
	*state = *state * 1664525U + 1013904223U;
	return *state >> 8;
}

static float random_float(uint32_t *state)
{
	return (float)(help_random(state) % 2001U) / 1000.0f - 1.0f;
}

uint32_t help_elements(const struct uc_tensor *tensor)
{
	return tensor->n * tensor->h * tensor->w * tensor->c;
}

/* ---- putting together ---- */

void help_init(struct help_model *model)
{
	memset(model, 0, sizeof(*model));
	model->program.page_bytes = HELP_PAGE_BYTES;
	model->step_percent = 100;
	for (uint32_t i = 0; i < sizeof(model->key); i++)
		model->key[i] = (uint8_t)(i * 7 + 1);
}

void help_free(struct help_model *model)
{
	free(model->plain);
	free(model->sealed);
	model->plain = NULL;
	model->sealed = NULL;
}

uint16_t help_tensor(struct help_model *model, uint32_t n, uint32_t h,
		     uint32_t w, uint32_t c)
{
	uint16_t id = model->program.tensor_count++;
	struct uc_tensor *tensor = &model->tensors[id];

	CHECK(id < HELP_MAX_TENSORS);
	tensor->n = n;
	tensor->h = h;
	tensor->w = w;
	tensor->c = c;
	tensor->bytes = 4 * (uint64_t)help_elements(tensor);
	tensor->dtype = UC_DTYPE_F32;
	tensor->parent = UC_NO_TENSOR;
	uc_tensor_set_dense(tensor);
	return id;
}

uint16_t help_tensor_s8(struct help_model *model, uint32_t n, uint32_t h,
			uint32_t w, uint32_t c)
{
	uint16_t id = help_tensor(model, n, h, w, c);

	model->tensors[id].dtype = UC_DTYPE_S8;
	model->tensors[id].bytes = help_elements(&model->tensors[id]);
	return id;
}

uint16_t help_view(struct help_model *model, uint16_t root,
		   const uint32_t origin[4], const uint32_t dims[4])
{
	uint16_t id = help_tensor(model, dims[0], dims[1], dims[2], dims[3]);
	struct uc_tensor *view = &model->tensors[id];
	const struct uc_tensor *whole = &model->tensors[root];

	view->parent = root;
	memcpy(view->origin, origin, sizeof(view->origin));
	view->stride_w = whole->stride_w;
	view->stride_h = whole->stride_h;
	view->stride_n = whole->stride_n;
	return id;
}

uint16_t help_rows(struct help_model *model, uint16_t root, uint32_t first,
		   uint32_t count)
{
	const struct uc_tensor *whole = &model->tensors[root];
	const uint32_t origin[4] = {0, first, 0, 0};
	const uint32_t dims[4] = {whole->n, count, whole->w, whole->c};

	return help_view(model, root, origin, dims);
}

uint16_t help_channels(struct help_model *model, uint16_t root, uint32_t first,
		       uint32_t count)
{
	const struct uc_tensor *whole = &model->tensors[root];
	const uint32_t origin[4] = {0, 0, 0, first};
	const uint32_t dims[4] = {whole->n, whole->h, whole->w, count};

	return help_view(model, root, origin, dims);
}

void help_input(struct help_model *model, uint16_t tensor, uint8_t layout)
{
	model->inputs[model->program.input_count++] = tensor;
	model->tensors[tensor].wire_layout = layout;
}

void help_output(struct help_model *model, uint16_t tensor, uint8_t layout)
{
	model->outputs[model->program.output_count++] = tensor;
	model->tensors[tensor].wire_layout = layout;
}

struct uc_op *help_op(struct help_model *model, uint16_t code, uint16_t a,
		      uint16_t b, uint16_t out)
{
	struct uc_op *op = &model->ops[model->program.op_count++];

	CHECK(model->program.op_count <= HELP_MAX_OPS);
	/* An operator that was made and left out may have been here. */
	*op = (struct uc_op){0};
	op->code = code;
	op->input_a = a;
	op->input_b = b;
	op->output = out;
	op->act_min = -INFINITY;
	op->act_max = INFINITY;
	op->kernel_h = op->kernel_w = 1;
	op->stride_h = op->stride_w = 1;
	op->dilation_h = op->dilation_w = 1;
	op->groups = 1;
	op->weights = UC_NO_TENSOR;
	return op;
}

/* ---- planning, without any cleverness ---- */

static void used(struct help_model *model, uint16_t id, uint16_t op)
{
	if (id == UC_NO_TENSOR)
		return;
	model->tensors[id].last_op = op;
	if (model->tensors[id].parent != UC_NO_TENSOR)
		model->tensors[model->tensors[id].parent].last_op = op;
}

static void written(struct help_model *model, uint16_t id, uint16_t op)
{
	struct uc_tensor *root = NULL;

	if (id == UC_NO_TENSOR)
		return;
	model->tensors[id].first_op = op;
	if (model->tensors[id].parent == UC_NO_TENSOR)
		return;
	root = &model->tensors[model->tensors[id].parent];
	if (root->first_op == UC_NO_OP)
		root->first_op = op;
}

static void plan_lives(struct help_model *model)
{
	const struct uc_program *program = &model->program;

	for (uint16_t i = 0; i < program->tensor_count; i++)
		model->tensors[i].first_op = UC_NO_OP;
	for (uint16_t i = 0; i < program->op_count; i++) {
		const struct uc_op *op = &model->ops[i];

		used(model, op->input_a, i);
		used(model, op->input_b, i);
		used(model, op->weights, i);
		used(model, op->output, i);
		written(model, op->output, i);
	}
	for (uint16_t i = 0; i < program->output_count; i++)
		model->tensors[model->outputs[i]].last_op = program->op_count;
}

/* A SPILL gets the next slot; a FILL was told which. */
static void plan_spill(struct help_model *model, struct uc_op *op)
{
	struct uc_program *program = &model->program;

	if (program->scratch_bytes < program->page_bytes)
		program->scratch_bytes = program->page_bytes;
	if (op->code == UC_OP_FILL)
		return;
	op->spill_page = program->spill_pages;
	program->spill_pages += pages_of(model->tensors[op->input_a].bytes,
					 program->page_bytes);
}

static void plan_op(struct help_model *model, struct uc_op *op,
		    uint64_t *step_bytes)
{
	struct uc_program *program = &model->program;
	const struct uc_op_shapes shapes = {
		.op = op,
		.a = op->input_a == UC_NO_TENSOR ? NULL
						 : &model->tensors[op->input_a],
		.b = op->input_b == UC_NO_TENSOR ? NULL
						 : &model->tensors[op->input_b],
		.out = op->output == UC_NO_TENSOR ? NULL
						  : &model->tensors[op->output],
	};
	const struct uc_op_type *type = uc_op_find(op->code);
	uint64_t panel_bytes = 0;
	uint64_t panel_count = 0;
	uint64_t scratch = 0;
	uint32_t streamed = 0;

	if (op->code == UC_OP_SPILL || op->code == UC_OP_FILL) {
		plan_spill(model, op);
		return;
	}
	CHECK(type && type->check(&shapes));
	CHECK(uc_op_panels(type, &shapes, &panel_bytes, &panel_count));
	op->panel_bytes = (uint32_t)panel_bytes;
	op->panel_count = (uint32_t)panel_count;
	if (op->weights != UC_NO_TENSOR) {
		op->scheme = UC_SCHEME_HELD;
		scratch = uc_op_scratch(type, &shapes);
		if (program->scratch_bytes < scratch)
			program->scratch_bytes = scratch;
		return;
	}
	op->resident_panels = op->panel_count * model->resident_percent / 100;
	streamed = op->panel_count - op->resident_panels;
	op->step_panels = streamed * model->step_percent / 100;
	if (streamed != 0 && op->step_panels == 0)
		op->step_panels = 1;
	op->scheme = op->panel_count == 0	   ? UC_SCHEME_NONE
		     : streamed == 0		   ? UC_SCHEME_RESIDENT
		     : op->step_panels == streamed ? UC_SCHEME_LAYER
						   : UC_SCHEME_SUB_LAYER;
	if (op->resident_panels != 0) {
		op->resident_offset = aligned(program->resident_bytes);
		program->resident_bytes =
			op->resident_offset +
			(uint64_t)op->resident_panels * op->panel_bytes;
	}
	if (streamed != 0) {
		op->stream_offset = program->stream_bytes;
		program->stream_bytes += (uint64_t)streamed * op->panel_bytes;
		if (*step_bytes < (uint64_t)op->step_panels * op->panel_bytes)
			*step_bytes =
				(uint64_t)op->step_panels * op->panel_bytes;
	}
	scratch = uc_op_scratch(type, &shapes);
	if (program->scratch_bytes < scratch)
		program->scratch_bytes = scratch;
}

void help_place(struct help_model *model)
{
	struct uc_program *program = &model->program;
	uint64_t offset = UC_ENGINE_CONTEXT_BYTES;

	offset += (uint64_t)model->program_pages * program->page_bytes;
	program->resident_offset = offset;
	offset += (uint64_t)model->resident_pages * program->page_bytes;
	program->window_offset = offset;
	offset = aligned(offset + program->window_bytes);
	program->scratch_offset = offset;
	offset = aligned(offset + program->scratch_bytes);
	for (uint32_t i = 0; i < program->tensor_count; i++) {
		struct uc_tensor *t = &model->tensors[i];

		if (t->parent != UC_NO_TENSOR) {
			t->offset =
				model->tensors[t->parent].offset +
				4 * (t->origin[0] * t->stride_n +
				     t->origin[1] * t->stride_h +
				     t->origin[2] * t->stride_w + t->origin[3]);
			continue;
		}
		t->offset = offset;
		offset = aligned(offset + t->bytes);
	}
	program->arena_bytes = offset + UC_ARENA_SLACK_BYTES;
}

void help_plan(struct help_model *model)
{
	struct uc_program *program = &model->program;
	uint64_t step_bytes = 0;

	plan_lives(model);
	for (uint32_t i = 0; i < program->op_count; i++)
		plan_op(model, &model->ops[i], &step_bytes);
	program->program_bytes =
		UC_PROGRAM_HEADER_BYTES + 4 * UC_MAX_IO +
		program->tensor_count * UC_TENSOR_RECORD_BYTES +
		program->op_count * UC_OP_RECORD_BYTES;
	model->program_pages =
		pages_of(program->program_bytes, program->page_bytes);
	model->resident_pages =
		pages_of(program->resident_bytes, program->page_bytes);
	model->streamed_pages =
		pages_of(program->stream_bytes, program->page_bytes);
	if (step_bytes != 0)
		program->window_bytes = step_bytes + program->page_bytes + 64 +
					model->window_extra;
	help_place(model);
}

/* ---- encoding ---- */

static void put(uint8_t *to, uint64_t value, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		to[i] = (uint8_t)(value >> (8 * i));
}

static void encode_header(const struct help_model *model, uint8_t *to)
{
	const struct uc_program *p = &model->program;

	put(to, UC_PROGRAM_MAGIC, 4);
	put(to + 4, UC_PROGRAM_VERSION, 2);
	put(to + 6, UC_PROGRAM_HEADER_BYTES, 2);
	put(to + 8, p->tensor_count, 2);
	put(to + 10, p->op_count, 2);
	put(to + 12, p->input_count, 1);
	put(to + 13, p->output_count, 1);
	put(to + 16, p->program_bytes, 4);
	put(to + 20, p->page_bytes, 4);
	put(to + 24, p->arena_bytes, 8);
	put(to + 32, p->resident_offset, 8);
	put(to + 40, p->resident_bytes, 8);
	put(to + 48, p->window_offset, 8);
	put(to + 56, p->window_bytes, 8);
	put(to + 64, p->stream_bytes, 8);
	put(to + 72, p->scratch_offset, 8);
	put(to + 80, p->scratch_bytes, 8);
	put(to + 88, p->spill_pages, 4);
	for (uint32_t i = 0; i < UC_MAX_IO; i++) {
		put(to + 128 + 2 * i,
		    i < p->input_count ? model->inputs[i] : UC_NO_TENSOR, 2);
		put(to + 160 + 2 * i,
		    i < p->output_count ? model->outputs[i] : UC_NO_TENSOR, 2);
	}
}

static void encode_tensor(const struct uc_tensor *t, uint8_t *to)
{
	put(to, t->n, 4);
	put(to + 4, t->h, 4);
	put(to + 8, t->w, 4);
	put(to + 12, t->c, 4);
	put(to + 16, t->offset, 8);
	put(to + 24, t->bytes, 8);
	put(to + 32, t->first_op, 2);
	put(to + 34, t->last_op, 2);
	put(to + 36, t->dtype, 1);
	put(to + 37, t->wire_layout, 1);
	put(to + 38, t->parent, 2);
	for (uint32_t i = 0; i < 4; i++)
		put(to + 40 + 4 * i, t->origin[i], 4);
}

static void encode_op(const struct uc_op *op, uint8_t *to)
{
	const uint16_t window[10] = {
		op->kernel_h,	op->kernel_w,	op->stride_h, op->stride_w,
		op->dilation_h, op->dilation_w, op->pad_top,  op->pad_left,
		op->pad_bottom, op->pad_right,
	};

	put(to, op->code, 2);
	put(to + 2, op->flags, 2);
	put(to + 4, op->input_a, 2);
	put(to + 6, op->input_b, 2);
	put(to + 8, op->output, 2);
	put(to + 10, op->scheme, 2);
	memcpy(to + 12, &op->act_min, 4);
	memcpy(to + 16, &op->act_max, 4);
	memcpy(to + 20, &op->alpha, 4);
	memcpy(to + 24, &op->beta, 4);
	for (uint32_t i = 0; i < 10; i++)
		put(to + 28 + 2 * i, window[i], 2);
	put(to + 48, op->groups, 4);
	put(to + 52, op->panel_bytes, 4);
	put(to + 56, op->panel_count, 4);
	put(to + 60, op->resident_panels, 4);
	put(to + 64, op->resident_offset, 8);
	put(to + 72, op->stream_offset, 8);
	put(to + 80, op->step_panels, 4);
	for (uint32_t i = 0; i < 4; i++)
		put(to + 84 + 2 * i, op->permutation[i], 2);
	put(to + 92, op->weights, 2);
	put(to + 96, op->spill_page, 4);
	put(to + 95, op->function, 1);
	put(to + 94, op->weights_format, 1);
	memcpy(to + 100, &op->a_quant.scale, 4);
	memcpy(to + 104, &op->b_quant.scale, 4);
	memcpy(to + 108, &op->out_quant.scale, 4);
	put(to + 112, (uint8_t)op->a_quant.zero, 1);
	put(to + 113, (uint8_t)op->b_quant.zero, 1);
	put(to + 114, (uint8_t)op->out_quant.zero, 1);
}

static uint32_t page_count(const struct help_model *model)
{
	return model->program_pages + model->resident_pages +
	       model->streamed_pages;
}

/* The weights of panel p of op i depend on the seed, i and p only, so that
 * models which differ in their plan have the same weights. */
static void fill_panel(uint8_t *to, uint32_t bytes, uint32_t state)
{
	for (uint32_t i = 0; i < bytes; i += 4) {
		float weight = random_float(&state) / 4.0f;

		memcpy(to + i, &weight, 4);
	}
}

void help_encode(struct help_model *model)
{
	const struct uc_program *p = &model->program;
	uint8_t *tensors = model->plain + 192;

	memset(model->plain, 0, (size_t)model->program_pages * p->page_bytes);
	encode_header(model, model->plain);
	for (uint32_t i = 0; i < p->tensor_count; i++)
		encode_tensor(&model->tensors[i],
			      tensors + i * UC_TENSOR_RECORD_BYTES);
	for (uint32_t i = 0; i < p->op_count; i++)
		encode_op(&model->ops[i],
			  tensors + p->tensor_count * UC_TENSOR_RECORD_BYTES +
				  i * UC_OP_RECORD_BYTES);
}

void help_fill(struct help_model *model, uint32_t seed)
{
	const struct uc_program *p = &model->program;
	uint8_t *resident = NULL;
	uint8_t *stream = NULL;

	free(model->plain);
	model->plain = calloc(page_count(model), p->page_bytes);
	CHECK(model->plain);
	help_encode(model);
	resident = model->plain + (size_t)model->program_pages * p->page_bytes;
	stream = resident + (size_t)model->resident_pages * p->page_bytes;
	for (uint32_t i = 0; i < p->op_count; i++) {
		const struct uc_op *op = &model->ops[i];

		if (op->weights != UC_NO_TENSOR)
			continue;
		for (uint32_t j = 0; j < op->panel_count; j++) {
			uint8_t *to = stream + op->stream_offset +
				      (size_t)(j - op->resident_panels) *
					      op->panel_bytes;

			if (j < op->resident_panels)
				to = resident + op->resident_offset +
				     (size_t)j * op->panel_bytes;
			fill_panel(to, op->panel_bytes,
				   seed + 977U * i + 131071U * j);
		}
	}
}

/* ---- sealing ---- */

size_t help_sealed_page_bytes(const struct help_model *model)
{
	return model->program.page_bytes + UC_PAGE_TAG_BYTES;
}

const uint8_t *help_page(const struct help_model *model, uint32_t index)
{
	return model->sealed + index * help_sealed_page_bytes(model);
}

uint32_t help_load_pages(const struct help_model *model)
{
	return model->program_pages + model->resident_pages;
}

void help_seal(struct help_model *model)
{
	uint32_t count = page_count(model);
	int page_bytes = (int)model->program.page_bytes;
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();

	free(model->sealed);
	model->sealed = malloc(count * help_sealed_page_bytes(model));
	CHECK(context && model->sealed);
	for (uint32_t i = 0; i < count; i++) {
		uint8_t *to = model->sealed + i * help_sealed_page_bytes(model);
		uint8_t nonce[UC_PAGE_NONCE_BYTES] = {0};
		int len = 0;

		put(nonce, i, 8);
		CHECK(EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL,
					 model->key, nonce) == 1);
		CHECK(EVP_EncryptUpdate(context, to, &len,
					model->plain +
						(size_t)i * (size_t)page_bytes,
					page_bytes) == 1);
		CHECK(EVP_EncryptFinal_ex(context, to + len, &len) == 1);
		CHECK(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG,
					  UC_PAGE_TAG_BYTES,
					  to + page_bytes) == 1);
	}
	EVP_CIPHER_CTX_free(context);
}

/* ---- the sample ---- */

static uint16_t sample_conv(struct help_model *model, uint16_t code, uint16_t a,
			    uint16_t channels, uint16_t kernel)
{
	const struct uc_tensor *in = &model->tensors[a];
	uint16_t out = help_tensor(model, in->n, in->h, in->w, channels);
	struct uc_op *op = help_op(model, code, a, UC_NO_TENSOR, out);

	op->kernel_h = op->kernel_w = kernel;
	op->pad_top = op->pad_left = (uint16_t)(kernel / 2);
	op->pad_bottom = op->pad_right = (uint16_t)(kernel / 2);
	if (code == UC_OP_DEPTHWISE_CONV_2D)
		op->groups = channels;
	return out;
}

static uint16_t sample_same(struct help_model *model, uint16_t code, uint16_t a,
			    uint16_t b)
{
	const struct uc_tensor *in = &model->tensors[a];
	uint16_t out = help_tensor(model, in->n, in->h, in->w, in->c);

	(void)help_op(model, code, a, b, out);
	return out;
}

void help_sample(struct help_model *model, uint32_t resident_percent,
		 uint32_t step_percent, uint32_t window_extra)
{
	uint16_t image = 0;
	uint16_t wide = 0;
	uint16_t narrow = 0;
	uint16_t constant = 0;
	uint16_t last = 0;
	uint16_t mean = 0;
	uint16_t turned = 0;
	struct uc_op *op = NULL;

	help_init(model);
	model->resident_percent = resident_percent;
	model->step_percent = step_percent;
	model->window_extra = window_extra;

	image = help_tensor(model, 1, 9, 7, 3);
	help_input(model, image, UC_WIRE_NCHW);
	wide = sample_conv(model, UC_OP_CONV_2D, image, 36, 3);
	model->ops[model->program.op_count - 1].act_min = 0.0f;
	last = sample_conv(model, UC_OP_DEPTHWISE_CONV_2D, wide, 36, 3);
	narrow = sample_conv(model, UC_OP_CONV_2D, last, 20, 1);
	model->ops[model->program.op_count - 1].weights_format =
		UC_WEIGHTS_INT8;
	last = sample_conv(model, UC_OP_CONV_2D, narrow, 20, 3);
	model->ops[model->program.op_count - 1].groups = 2;
	last = sample_same(model, UC_OP_ADD, narrow, last);
	constant = help_tensor(model, 1, 1, 1, 20);
	op = help_op(model, UC_OP_CONSTANT, UC_NO_TENSOR, UC_NO_TENSOR,
		     constant);
	op->panel_bytes = 32;
	last = sample_same(model, UC_OP_MUL, last, constant);
	turned = help_tensor(model, 1, 20, 9, 7);
	op = help_op(model, UC_OP_TRANSPOSE, last, UC_NO_TENSOR, turned);
	op->permutation[1] = 3;
	op->permutation[2] = 1;
	op->permutation[3] = 2;
	help_output(model, turned, UC_WIRE_NCHW);
	mean = help_tensor(model, 1, 1, 1, 20);
	(void)help_op(model, UC_OP_GLOBAL_AVERAGE_POOL, last, UC_NO_TENSOR,
		      mean);
	last = help_tensor(model, 1, 1, 1, 130);
	(void)help_op(model, UC_OP_FULLY_CONNECTED, mean, UC_NO_TENSOR, last);
	last = sample_same(model, UC_OP_SOFTMAX, last, UC_NO_TENSOR);
	help_output(model, last, UC_WIRE_AS_STORED);

	help_plan(model);
	help_fill(model, 1);
	help_seal(model);
}
