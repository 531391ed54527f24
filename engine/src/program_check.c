/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole program is checked before any of it runs, in this order:
 *
 *   1. header, io table and what must be zero
 *   2. the regions of the arena that are not tensors
 *   3. every tensor: shape, place, who writes it
 *   4. every operator: operands and live ranges, attributes, weights, scratch
 *   5. the sums: stream, window, scratch
 *   6. no two things share bytes while both are alive
 *
 * After it an operator can only reach its own operands: nothing is checked
 * again while it computes.
 */
#include "bytes.h"
#include "program.h"
#include "uc_op.h"

#define KNOWN_FLAGS                                                            \
	(UC_OP_FLAG_SCALAR_OPERAND | UC_OP_FLAG_COUNT_INCLUDE_PAD |            \
	 UC_OP_FLAG_REVERSED)

struct check {
	const struct uc_program *program;
	const struct uc_program_limits *limits;
	size_t bytes_len;
	uint64_t first_free; /* end of the program pages */
	uint64_t end;	     /* beginning of the slack */
	uint64_t streamed;   /* bytes of the stream seen so far */
	uint64_t step_bytes; /* the largest step through the window */
	uint64_t scratch;    /* the largest need */
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
	uint64_t bytes = 4;

	for (uint32_t i = 0; i < 4; i++) {
		if (!dim_fits(dims[i]))
			return 0;
		bytes *= dims[i]; /* below 2^32 times at most 2^20 */
		if (bytes > UINT32_MAX)
			return 0;
	}
	return bytes;
}

/*
 * The live range is what it says: first_op writes the tensor, last_op reads
 * it. That nothing else writes it, and nothing reads it before or after, is
 * seen where the operators are checked.
 */
static bool check_life(const struct uc_program *program, uint32_t index,
		       const struct uc_tensor *tensor)
{
	struct uc_op op = {0};

	if (is_output(program, index)) {
		if (tensor->last_op != program->op_count)
			return false;
	} else {
		if (tensor->last_op >= program->op_count)
			return false;
		uc_program_op(program, tensor->last_op, &op);
		if (op.input_a != index && op.input_b != index)
			return false;
	}
	if (is_input(program, index))
		return tensor->first_op == UC_NO_OP;
	if (tensor->first_op >= program->op_count)
		return false;
	uc_program_op(program, tensor->first_op, &op);
	return op.output == index;
}

static bool check_tensor(const struct check *check, uint32_t index)
{
	const struct uc_program *program = check->program;
	struct uc_tensor tensor = {0};
	uint64_t bytes = 0;

	uc_program_tensor(program, index, &tensor);
	bytes = tensor_bytes(&tensor);
	if (bytes == 0 || tensor.bytes != bytes ||
	    tensor.dtype != UC_DTYPE_F32 || tensor.wire_layout > UC_WIRE_NCHW ||
	    !uc_program_tensor_reserved_is_zero(program, index))
		return false;
	if (!is_place(check, tensor.offset, bytes) ||
	    meets_region(check, tensor.offset, bytes))
		return false;
	if (tensor.wire_layout != UC_WIRE_AS_STORED &&
	    !is_input(program, index) && !is_output(program, index))
		return false;
	return check_life(program, index, &tensor);
}

/* ---- 4. operators ---- */

/* Is the tensor written before this operator and kept until it? */
static bool is_readable(const struct uc_program *program, uint32_t op,
			uint16_t id, struct uc_tensor *tensor)
{
	if (id >= program->tensor_count)
		return false;
	uc_program_tensor(program, id, tensor);
	return (tensor->first_op == UC_NO_OP || tensor->first_op < op) &&
	       op <= tensor->last_op;
}

static bool is_binary(const struct uc_op *op)
{
	return op->code >= UC_OP_ADD && op->code <= UC_OP_DIV &&
	       (op->flags & UC_OP_FLAG_SCALAR_OPERAND) == 0;
}

static bool check_attributes(const struct uc_op *op)
{
	/* A comparison with a NaN is false. */
	return (op->flags & ~KNOWN_FLAGS) == 0 && op->act_min <= op->act_max &&
	       op->alpha == op->alpha && op->beta == op->beta &&
	       op->kernel_h <= UC_MAX_KERNEL_SIZE &&
	       op->kernel_w <= UC_MAX_KERNEL_SIZE &&
	       op->stride_h <= UC_MAX_STRIDE && op->stride_w <= UC_MAX_STRIDE;
}

static uint32_t scheme_of(const struct uc_op *op)
{
	uint32_t streamed = op->panel_count - op->resident_panels;

	if (op->panel_count == 0)
		return UC_SCHEME_NONE;
	if (streamed == 0)
		return UC_SCHEME_RESIDENT;
	return op->step_panels == streamed ? UC_SCHEME_LAYER
					   : UC_SCHEME_SUB_LAYER;
}

static bool check_weights(struct check *check, const struct uc_op_type *type,
			  const struct uc_op_shapes *shapes)
{
	const struct uc_op *op = shapes->op;
	uint64_t panel_bytes = 0;
	uint64_t panel_count = 0;
	uint64_t resident = 0;
	uint64_t streamed = 0;

	type->panels(shapes, &panel_bytes, &panel_count);
	if (op->panel_bytes != panel_bytes || op->panel_count != panel_count ||
	    (panel_bytes == 0) != (panel_count == 0) || panel_bytes % 32 != 0)
		return false;
	if (op->resident_panels > op->panel_count ||
	    op->scheme != scheme_of(op) || op->stream_offset % 32 != 0)
		return false;
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
	type = uc_op_find(op.code);
	if (!type)
		return UC_ST_UNSUPPORTED_OP;
	if (!check_attributes(&op) ||
	    !uc_program_op_reserved_is_zero(program, index))
		return UC_ST_BAD_PROGRAM;

	if (op.code != UC_OP_CONSTANT) {
		if (!is_readable(program, index, op.input_a, &a))
			return UC_ST_BAD_PROGRAM;
		shapes.a = &a;
	} else if (op.input_a != UC_NO_TENSOR || op.panel_bytes == 0) {
		return UC_ST_BAD_PROGRAM;
	}
	if (is_binary(&op)) {
		if (!is_readable(program, index, op.input_b, &b))
			return UC_ST_BAD_PROGRAM;
		shapes.b = &b;
	} else if (op.input_b != UC_NO_TENSOR) {
		return UC_ST_BAD_PROGRAM;
	}
	if (op.output >= program->tensor_count)
		return UC_ST_BAD_PROGRAM;
	uc_program_tensor(program, op.output, &out);
	if (out.first_op != index)
		return UC_ST_BAD_PROGRAM;

	if (!type->check(&shapes) || !check_weights(check, type, &shapes))
		return UC_ST_BAD_PROGRAM;
	scratch = type->scratch(&shapes);
	if (check->scratch < scratch)
		check->scratch = scratch;
	return UC_ST_OK;
}

/* ---- 5. sums ---- */

static bool check_sums(const struct check *check)
{
	const struct uc_program *program = check->program;

	if (check->streamed != program->stream_bytes ||
	    check->scratch > program->scratch_bytes)
		return false;
	/* A step is no longer than the stream, so this cannot wrap. */
	return check->streamed == 0 ||
	       program->window_bytes >= check->step_bytes +
						program->page_bytes +
						UC_ARENA_ALIGN_BYTES;
}

/* ---- 6. overlaps ---- */

static int32_t born(const struct uc_tensor *tensor)
{
	return tensor->first_op == UC_NO_OP ? -1 : (int32_t)tensor->first_op;
}

/* May `out` lie exactly over `old`, id old_id, which dies where out is born? */
static bool is_overwrite(const struct uc_program *program,
			 const struct uc_tensor *out,
			 const struct uc_tensor *old, uint32_t old_id)
{
	const struct uc_op_type *type = NULL;
	struct uc_op op = {0};

	if (out->first_op == UC_NO_OP || old->last_op != out->first_op ||
	    old->offset != out->offset || old->bytes != out->bytes)
		return false;
	uc_program_op(program, out->first_op, &op);
	type = uc_op_find(op.code);
	if (!type || !type->elementwise)
		return false;
	if (op.input_a == old_id)
		return true;
	return is_binary(&op) && op.input_b == old_id && old->n == out->n &&
	       old->h == out->h && old->w == out->w && old->c == out->c;
}

static bool check_overlaps(const struct check *check, uint32_t index)
{
	const struct uc_program *program = check->program;
	struct uc_tensor tensor = {0};
	struct uc_tensor other = {0};

	uc_program_tensor(program, index, &tensor);
	for (uint32_t i = 0; i < index; i++) {
		uc_program_tensor(program, i, &other);
		if (!uc_ranges_meet(tensor.offset, tensor.bytes, other.offset,
				    other.bytes))
			continue;
		if (born(&tensor) > (int32_t)other.last_op ||
		    born(&other) > (int32_t)tensor.last_op)
			continue;
		if (!is_overwrite(program, &tensor, &other, i) &&
		    !is_overwrite(program, &other, &tensor, index))
			return false;
	}
	return true;
}

static bool check_resident(const struct check *check, uint32_t index)
{
	struct uc_op op = {0};
	struct uc_op other = {0};

	uc_program_op(check->program, index, &op);
	for (uint32_t i = 0; op.resident_panels != 0 && i < index; i++) {
		uc_program_op(check->program, i, &other);
		if (uc_ranges_meet(op.resident_offset,
				   (uint64_t)op.resident_panels *
					   op.panel_bytes,
				   other.resident_offset,
				   (uint64_t)other.resident_panels *
					   other.panel_bytes))
			return false;
	}
	return true;
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
		if (!check_overlaps(check, i))
			return UC_ST_BAD_PROGRAM;
	}
	for (uint32_t i = 0; i < program->op_count; i++) {
		*detail = i;
		if (!check_resident(check, i))
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
