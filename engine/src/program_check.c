/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole program is checked before any of it runs, in this order:
 *
 *   1. header, io table and what must be zero
 *   2. the regions of the arena that are not tensors
 *   3. every tensor: shape, place, box of its root, ends of its live range
 *   4. every operator: operands and live ranges, attributes, weights, scratch
 *   5. the sums: stream, window, scratch, spilled pages
 *   6. nothing is written twice, no two things share bytes while both are alive
 *
 * After it an operator can only reach its own operands: nothing is checked
 * again while it computes.
 */
#include "bytes.h"
#include "program_check.h"
#include "uc_op.h"

struct check {
	const struct uc_program *program;
	const struct uc_program_limits *limits;
	size_t bytes_len;
	uint64_t first_free; /* end of the program pages */
	uint64_t end;	     /* beginning of the slack */
	uint64_t streamed;   /* bytes of the stream seen so far */
	uint64_t step_bytes; /* the largest step through the window */
	uint64_t scratch;    /* the largest need */
	uint64_t spilled;    /* pages of activations handed out so far */
};

static bool is_input(const struct uc_program *program, uint32_t tensor)
{
	for (uint32_t i = 0; i < program->input_count; i++) {
		if (uc_program_input(program, i) == tensor)
			return true;
	}
	return false;
}

static bool is_output(const struct uc_program *program, uint32_t tensor)
{
	for (uint32_t i = 0; i < program->output_count; i++) {
		if (uc_program_output(program, i) == tensor)
			return true;
	}
	return false;
}

/* ---- 1. header and io table ---- */

static bool check_header(const struct check *check)
{
	const struct uc_program *program = check->program;
	const struct uc_program_limits *limits = check->limits;
	uint64_t page_bytes = limits->page_bytes;

	if (program->tensor_count < 1 ||
	    program->tensor_count > UC_MAX_TENSORS || program->op_count < 1 ||
	    program->op_count > UC_MAX_OPS || program->input_count < 1 ||
	    program->input_count > UC_MAX_IO || program->output_count < 1 ||
	    program->output_count > UC_MAX_IO)
		return false;
	if (program->page_bytes != page_bytes ||
	    program->arena_bytes != limits->arena_bytes)
		return false;
	/* The pages there are hold what is said to be in them, and no more. */
	if (uc_units(program->program_bytes, page_bytes) !=
		    limits->program_pages ||
	    uc_units(program->resident_bytes, page_bytes) !=
		    limits->resident_pages ||
	    uc_units(program->stream_bytes, page_bytes) !=
		    limits->streamed_pages)
		return false;
	return uc_program_reserved_is_zero(program, check->bytes_len);
}

static bool check_io_table(const struct uc_program *program)
{
	for (uint32_t i = 0; i < program->input_count; i++) {
		uint32_t id = uc_program_input(program, i);

		if (id >= program->tensor_count)
			return false;
		for (uint32_t j = 0; j < i; j++) {
			if (uc_program_input(program, j) == id)
				return false;
		}
	}
	for (uint32_t i = 0; i < program->output_count; i++) {
		uint32_t id = uc_program_output(program, i);

		if (id >= program->tensor_count)
			return false;
		for (uint32_t j = 0; j < i; j++) {
			if (uc_program_output(program, j) == id)
				return false;
		}
	}
	return true;
}

/* ---- 2. regions ---- */

static bool is_place(const struct check *check, uint64_t offset, uint64_t len)
{
	return offset % UC_ARENA_ALIGN_BYTES == 0 &&
	       offset >= check->first_free &&
	       uc_range_fits(offset, len, check->end);
}

static uint64_t resident_region_bytes(const struct check *check)
{
	return (uint64_t)check->limits->resident_pages *
	       check->limits->page_bytes;
}

static bool check_regions(const struct check *check)
{
	const struct uc_program *p = check->program;
	uint64_t resident = resident_region_bytes(check);

	/* A region of no bytes is nowhere: its offset says nothing. */
	if ((resident != 0 && !is_place(check, p->resident_offset, resident)) ||
	    (p->window_bytes != 0 &&
	     !is_place(check, p->window_offset, p->window_bytes)) ||
	    (p->scratch_bytes != 0 &&
	     !is_place(check, p->scratch_offset, p->scratch_bytes)))
		return false;
	return !uc_ranges_meet(p->resident_offset, resident, p->window_offset,
			       p->window_bytes) &&
	       !uc_ranges_meet(p->resident_offset, resident, p->scratch_offset,
			       p->scratch_bytes) &&
	       !uc_ranges_meet(p->window_offset, p->window_bytes,
			       p->scratch_offset, p->scratch_bytes);
}

static bool meets_region(const struct check *check, uint64_t offset,
			 uint64_t len)
{
	const struct uc_program *p = check->program;

	return uc_ranges_meet(offset, len, p->resident_offset,
			      resident_region_bytes(check)) ||
	       uc_ranges_meet(offset, len, p->window_offset, p->window_bytes) ||
	       uc_ranges_meet(offset, len, p->scratch_offset, p->scratch_bytes);
}

/* ---- 3. tensors ---- */

static bool dim_fits(uint32_t dim)
{
	return dim >= 1 && dim <= UC_MAX_DIM;
}

/* 0 when there are more than any arena holds. */
static uint64_t tensor_bytes(const struct uc_tensor *tensor)
{
	const uint32_t dims[4] = {tensor->n, tensor->h, tensor->w, tensor->c};
	uint64_t bytes = uc_dtype_bytes(tensor->dtype);

	for (uint32_t i = 0; i < 4; i++) {
		if (!dim_fits(dims[i]))
			return 0;
		bytes *= dims[i]; /* below 2^32 times at most 2^20 */
		if (bytes > UINT32_MAX)
			return 0;
	}
	return bytes;
}

static bool is_origin(const struct uc_tensor *root)
{
	return root->origin[0] == 0 && root->origin[1] == 0 &&
	       root->origin[2] == 0 && root->origin[3] == 0;
}

static bool check_tensor(const struct check *check, uint32_t index)
{
	const struct uc_program *program = check->program;
	struct uc_tensor tensor = {0};
	uint64_t bytes = 0;
	bool at_boundary = false;

	uc_program_tensor(program, index, &tensor);
	bytes = tensor_bytes(&tensor);
	if (bytes == 0 || tensor.bytes != bytes ||
	    tensor.wire_layout > UC_WIRE_NCHW ||
	    !uc_program_tensor_reserved_is_zero(program, index))
		return false;
	at_boundary = is_input(program, index) || is_output(program, index);
	if (at_boundary ? tensor.dtype != UC_DTYPE_F32
			: tensor.wire_layout != UC_WIRE_AS_STORED)
		return false;
	if (tensor.parent == UC_NO_TENSOR) {
		if (!is_origin(&tensor) ||
		    !is_place(check, tensor.offset, bytes) ||
		    meets_region(check, tensor.offset, bytes))
			return false;
	} else if (at_boundary ||
		   !uc_life_view_is_inside(program, index, &tensor)) {
		return false;
	}
	return uc_life_ends_are_uses(program, index, &tensor,
				     is_input(program, index),
				     is_output(program, index));
}

/* ---- 4. operators ---- */

static bool is_binary(const struct uc_op_type *type, const struct uc_op *op)
{
	return type->second_input &&
	       (op->flags & UC_OP_FLAG_SCALAR_OPERAND) == 0;
}

/* An operand has a scale when it is s8; whether a good one, and whether it may
 * be s8 at all, the operator knows. */
static bool check_quant(const struct uc_tensor *tensor,
			const struct uc_quantisation *quant)
{
	return (tensor && tensor->dtype == UC_DTYPE_S8) ||
	       (quant->scale == 0.0f && quant->zero == 0);
}

static bool check_attributes(const struct uc_op_type *type,
			     const struct uc_op *op)
{
	/* A comparison with a NaN is false. */
	return (op->flags & ~type->flags) == 0 &&
	       (type->has_functions || op->function == 0) &&
	       op->act_min <= op->act_max && op->alpha == op->alpha &&
	       op->beta == op->beta && op->kernel_h <= UC_MAX_KERNEL_SIZE &&
	       op->kernel_w <= UC_MAX_KERNEL_SIZE &&
	       op->stride_h <= UC_MAX_STRIDE && op->stride_w <= UC_MAX_STRIDE;
}

static uint32_t scheme_of(const struct uc_op *op)
{
	uint32_t streamed = op->panel_count - op->resident_panels;

	if (op->panel_count == 0)
		return UC_SCHEME_NONE;
	if (op->weights != UC_NO_TENSOR)
		return UC_SCHEME_HELD;
	if (streamed == 0)
		return UC_SCHEME_RESIDENT;
	return op->step_panels == streamed ? UC_SCHEME_LAYER
					   : UC_SCHEME_SUB_LAYER;
}

/* All panels of the operator, in a tensor of their own. */
static bool check_held(const struct check *check, uint32_t index,
		       const struct uc_op *op)
{
	struct uc_tensor held = {0};

	return op->code != UC_OP_CONSTANT && op->panel_count != 0 &&
	       op->resident_panels == 0 && op->step_panels == 0 &&
	       uc_life_is_readable(check->program, index, op->weights, &held) &&
	       held.parent == UC_NO_TENSOR &&
	       held.bytes == (uint64_t)op->panel_count * op->panel_bytes;
}

static bool check_weights(struct check *check, uint32_t index,
			  const struct uc_op_type *type,
			  const struct uc_op_shapes *shapes)
{
	const struct uc_op *op = shapes->op;
	uint64_t panel_bytes = 0;
	uint64_t panel_count = 0;
	uint64_t resident = 0;
	uint64_t streamed = 0;

	if (!uc_op_panels(type, shapes, &panel_bytes, &panel_count))
		return false;
	if (op->panel_bytes != panel_bytes || op->panel_count != panel_count ||
	    (panel_bytes == 0) != (panel_count == 0) || panel_bytes % 32 != 0)
		return false;
	if (op->resident_panels > op->panel_count ||
	    op->scheme != scheme_of(op) || op->stream_offset % 32 != 0)
		return false;
	if (op->weights != UC_NO_TENSOR)
		return check_held(check, index, op);
	resident = (uint64_t)op->resident_panels * op->panel_bytes;
	if (resident != 0 && (op->resident_offset % UC_ARENA_ALIGN_BYTES != 0 ||
			      !uc_range_fits(op->resident_offset, resident,
					     check->program->resident_bytes)))
		return false;
	streamed = (uint64_t)(op->panel_count - op->resident_panels) *
		   op->panel_bytes;
	if (streamed == 0)
		return op->step_panels == 0;
	if (op->stream_offset != check->streamed ||
	    !uc_range_fits(op->stream_offset, streamed,
			   check->program->stream_bytes) ||
	    op->step_panels < 1 ||
	    op->step_panels > op->panel_count - op->resident_panels)
		return false;
	check->streamed += streamed;
	if (check->step_bytes < (uint64_t)op->step_panels * op->panel_bytes)
		check->step_bytes = (uint64_t)op->step_panels * op->panel_bytes;
	return true;
}

/* The tensor that was handed out into this slot, before this operator. */
static bool find_spilled(const struct uc_program *program, uint32_t index,
			 uint32_t spill_page, struct uc_tensor *tensor)
{
	struct uc_op op = {0};

	for (uint32_t i = 0; i < index; i++) {
		uc_program_op(program, i, &op);
		if (op.code != UC_OP_SPILL || op.spill_page != spill_page)
			continue;
		uc_program_tensor(program, op.input_a, tensor);
		return true;
	}
	return false;
}

/* An activation that leaves or comes back, whole and without gaps. Slots follow
 * one another, so that no nonce is used twice. */
static bool check_spill(struct check *check, uint32_t index,
			const struct uc_op *op)
{
	const struct uc_program *program = check->program;
	struct uc_tensor tensor = {0};
	struct uc_tensor spilled = {0};

	if (!check_quant(NULL, &op->a_quant) ||
	    !check_quant(NULL, &op->b_quant) ||
	    !check_quant(NULL, &op->out_quant) || op->weights_format != 0)
		return false;
	if (op->flags != 0 || op->function != 0 ||
	    op->input_b != UC_NO_TENSOR || op->weights != UC_NO_TENSOR ||
	    op->scheme != UC_SCHEME_NONE || op->panel_count != 0 ||
	    op->resident_panels != 0 || op->step_panels != 0 ||
	    !uc_program_op_reserved_is_zero(program, index))
		return false;
	if (op->code == UC_OP_FILL) {
		if (op->input_a != UC_NO_TENSOR ||
		    !uc_life_is_writable(program, index, op->output, &tensor) ||
		    !find_spilled(program, index, op->spill_page, &spilled) ||
		    spilled.bytes != tensor.bytes)
			return false;
	} else {
		if (op->output != UC_NO_TENSOR ||
		    op->spill_page != check->spilled ||
		    !uc_life_is_readable(program, index, op->input_a, &tensor))
			return false;
		check->spilled += uc_units(tensor.bytes, program->page_bytes);
	}
	if (check->scratch < program->page_bytes)
		check->scratch = program->page_bytes;
	return uc_tensor_span(&tensor) == tensor.bytes;
}

static enum uc_status check_op(struct check *check, uint32_t index)
{
	const struct uc_program *program = check->program;
	const struct uc_op_type *type = NULL;
	struct uc_op op = {0};
	struct uc_tensor a = {0};
	struct uc_tensor b = {0};
	struct uc_tensor out = {0};
	struct uc_op_shapes shapes = {.op = &op, .out = &out};
	uint64_t scratch = 0;

	uc_program_op(program, index, &op);
	if (op.code == UC_OP_SPILL || op.code == UC_OP_FILL)
		return check_spill(check, index, &op) ? UC_ST_OK
						      : UC_ST_BAD_PROGRAM;
	type = uc_op_find(op.code);
	if (!type)
		return UC_ST_UNSUPPORTED_OP;
	if (!check_attributes(type, &op) ||
	    !uc_program_op_reserved_is_zero(program, index))
		return UC_ST_BAD_PROGRAM;

	if (!type->no_input) {
		if (!uc_life_is_readable(program, index, op.input_a, &a))
			return UC_ST_BAD_PROGRAM;
		shapes.a = &a;
	} else if (op.input_a != UC_NO_TENSOR || op.panel_bytes == 0) {
		return UC_ST_BAD_PROGRAM;
	}
	if (is_binary(type, &op)) {
		if (!uc_life_is_readable(program, index, op.input_b, &b))
			return UC_ST_BAD_PROGRAM;
		shapes.b = &b;
	} else if (op.input_b != UC_NO_TENSOR) {
		return UC_ST_BAD_PROGRAM;
	}
	if (!uc_life_is_writable(program, index, op.output, &out) ||
	    op.spill_page != 0)
		return UC_ST_BAD_PROGRAM;

	if (!check_quant(shapes.a, &op.a_quant) ||
	    !check_quant(shapes.b, &op.b_quant) ||
	    !check_quant(shapes.out, &op.out_quant) || !type->check(&shapes) ||
	    !check_weights(check, index, type, &shapes))
		return UC_ST_BAD_PROGRAM;
	scratch = uc_op_scratch(type, &shapes);
	if (check->scratch < scratch)
		check->scratch = scratch;
	return UC_ST_OK;
}

/* ---- 5. sums ---- */

static bool check_sums(const struct check *check)
{
	const struct uc_program *program = check->program;

	if (check->streamed != program->stream_bytes ||
	    check->scratch > program->scratch_bytes ||
	    check->spilled != program->spill_pages ||
	    check->spilled > UC_MAX_PAGES)
		return false;
	/* A step is no longer than the stream, so this cannot wrap. */
	return check->streamed == 0 ||
	       program->window_bytes >= check->step_bytes +
						program->page_bytes +
						UC_ARENA_ALIGN_BYTES;
}

static enum uc_status check_all(struct check *check, uint32_t *detail)
{
	const struct uc_program *program = check->program;
	enum uc_status status = UC_ST_OK;

	*detail = UC_PROGRAM_DETAIL;
	if (!check_header(check) || !check_io_table(program) ||
	    !check_regions(check))
		return UC_ST_BAD_PROGRAM;
	for (uint32_t i = 0; i < program->tensor_count; i++) {
		*detail = UC_TENSOR_DETAIL + i;
		if (!check_tensor(check, i))
			return UC_ST_BAD_PROGRAM;
	}
	for (uint32_t i = 0; i < program->op_count; i++) {
		*detail = i;
		status = check_op(check, i);
		if (status != UC_ST_OK)
			return status;
	}
	*detail = UC_PROGRAM_DETAIL;
	if (!check_sums(check))
		return UC_ST_BAD_PROGRAM;
	for (uint32_t i = 0; i < program->tensor_count; i++) {
		*detail = UC_TENSOR_DETAIL + i;
		if (!uc_life_is_written_once(program, i) ||
		    !uc_life_shares_well(program, i))
			return UC_ST_BAD_PROGRAM;
	}
	*detail = 0;
	return UC_ST_OK;
}

enum uc_status uc_program_check(struct uc_program *program,
				const uint8_t *bytes, size_t bytes_len,
				const struct uc_program_limits *limits,
				uint32_t *detail)
{
	struct check check = {
		.program = program,
		.limits = limits,
		.bytes_len = bytes_len,
	};
	enum uc_status status = UC_ST_BAD_PROGRAM;

	*detail = UC_PROGRAM_DETAIL;
	check.first_free = UC_ENGINE_CONTEXT_BYTES +
			   (uint64_t)limits->program_pages * limits->page_bytes;
	if (limits->page_bytes != 0 &&
	    limits->arena_bytes >= check.first_free + UC_ARENA_SLACK_BYTES &&
	    uc_program_decode_header(program, bytes, bytes_len)) {
		check.end = limits->arena_bytes - UC_ARENA_SLACK_BYTES;
		status = check_all(&check, detail);
	}
	if (status != UC_ST_OK)
		memset(program, 0, sizeof(*program));
	return status;
}
