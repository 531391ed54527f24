/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who writes what, when, and what may share bytes. Memory belongs to roots; a
 * view is a box of elements of its root. Two questions keep an operator from
 * seeing what it should not:
 *
 *   Is all that it reads written before, and no element written twice? The
 *   boxes written under a root are disjoint, so what a read box has in common
 *   with those written earlier can simply be added up.
 *
 *   Do roots that share bytes live at different times? Live ranges are what the
 *   records say; each use of a tensor is held against them, and both ends of a
 *   range must be uses.
 */
#include "bytes.h"
#include "program_check.h"
#include "uc_op.h"

/* A box of elements, [from, to) along n, h, w, c of the root. */
struct box {
	uint64_t from[4];
	uint64_t to[4];
};

static struct box box_of(const struct uc_tensor *tensor)
{
	const uint32_t dims[4] = {tensor->n, tensor->h, tensor->w, tensor->c};
	struct box box = {0};

	for (uint32_t i = 0; i < 4; i++) {
		box.from[i] =
			tensor->parent == UC_NO_TENSOR ? 0 : tensor->origin[i];
		box.to[i] = box.from[i] + dims[i];
	}
	return box;
}

static uint64_t elements(const struct uc_tensor *tensor)
{
	return (uint64_t)tensor->n * tensor->h * tensor->w * tensor->c;
}

static uint64_t common_elements(const struct box *one, const struct box *other)
{
	uint64_t count = 1;

	for (uint32_t i = 0; i < 4; i++) {
		uint64_t from = one->from[i] > other->from[i] ? one->from[i]
							      : other->from[i];
		uint64_t to =
			one->to[i] < other->to[i] ? one->to[i] : other->to[i];

		count *= to > from ? to - from : 0;
	}
	return count;
}

static uint16_t root_of(const struct uc_tensor *tensor, uint16_t index)
{
	return tensor->parent == UC_NO_TENSOR ? index : tensor->parent;
}

bool uc_life_view_is_inside(const struct uc_program *program, uint32_t index,
			    const struct uc_tensor *view)
{
	const struct box box = box_of(view);
	struct uc_tensor root = {0};
	uint64_t offset = 0;

	/* A root comes before its views, and they follow it at once. */
	if (view->parent >= index)
		return false;
	uc_program_tensor(program, view->parent, &root);
	if (root.parent != UC_NO_TENSOR || root.dtype != view->dtype)
		return false;
	if (box.to[0] > root.n || box.to[1] > root.h || box.to[2] > root.w ||
	    box.to[3] > root.c)
		return false;
	if (view->parent + 1U != index) {
		struct uc_tensor before = {0};

		uc_program_tensor(program, index - 1, &before);
		if (before.parent != view->parent)
			return false;
	}
	/* Inside the root, so nothing wraps. */
	offset = box.from[0] * root.stride_n + box.from[1] * root.stride_h +
		 box.from[2] * root.stride_w + box.from[3];
	return view->offset ==
	       root.offset + uc_dtype_bytes(root.dtype) * offset;
}

/* ---- uses ---- */

static bool reads(const struct uc_program *program, const struct uc_op *op,
		  uint32_t index)
{
	const uint16_t read[3] = {op->input_a, op->input_b, op->weights};
	struct uc_tensor tensor = {0};

	for (uint32_t i = 0; i < 3; i++) {
		if (read[i] == index)
			return true;
		if (read[i] >= program->tensor_count)
			continue;
		uc_program_tensor(program, read[i], &tensor);
		if (tensor.parent == index)
			return true;
	}
	return false;
}

static bool writes(const struct uc_program *program, const struct uc_op *op,
		   uint32_t index)
{
	struct uc_tensor tensor = {0};

	if (op->output == index)
		return true;
	if (op->output >= program->tensor_count)
		return false;
	uc_program_tensor(program, op->output, &tensor);
	return tensor.parent == index;
}

bool uc_life_ends_are_uses(const struct uc_program *program, uint32_t index,
			   const struct uc_tensor *tensor, bool is_input,
			   bool is_output)
{
	bool is_view = tensor->parent != UC_NO_TENSOR;
	struct uc_op op = {0};

	if (is_output) {
		if (tensor->last_op != program->op_count)
			return false;
	} else {
		if (tensor->last_op >= program->op_count)
			return false;
		uc_program_op(program, tensor->last_op, &op);
		/* Memory is kept for somebody who reads it. */
		if (!reads(program, &op, index) &&
		    !(is_view && op.output == index))
			return false;
	}
	if (is_input)
		return tensor->first_op == UC_NO_OP;
	if (is_view && tensor->first_op == UC_NO_OP)
		return true;
	if (tensor->first_op >= program->op_count)
		return false;
	uc_program_op(program, tensor->first_op, &op);
	return writes(program, &op, index);
}

/* ---- written before it is read, and once ---- */

/* How many elements of box were written by an operator before `op`. */
static uint64_t written_before(const struct uc_program *program, uint32_t op,
			       uint16_t root_index, const struct box *box)
{
	struct uc_tensor tensor = {0};
	struct uc_op writer = {0};
	struct box other = {0};
	uint64_t count = 0;

	uc_program_tensor(program, root_index, &tensor);
	other = box_of(&tensor);
	if (tensor.first_op == UC_NO_OP)
		return common_elements(box, &other);
	if (tensor.first_op >= op)
		return 0;
	uc_program_op(program, tensor.first_op, &writer);
	if (writer.output == root_index)
		return common_elements(box, &other);
	for (uint32_t i = root_index + 1U; i < program->tensor_count; i++) {
		uc_program_tensor(program, i, &tensor);
		if (tensor.parent != root_index)
			break;
		other = box_of(&tensor);
		if (tensor.first_op < op) /* UC_NO_OP is never below */
			count += common_elements(box, &other);
	}
	return count;
}

bool uc_life_is_readable(const struct uc_program *program, uint32_t op,
			 uint16_t index, struct uc_tensor *tensor)
{
	struct uc_tensor root = {0};
	struct box box = {0};

	if (index >= program->tensor_count)
		return false;
	uc_program_tensor(program, index, tensor);
	uc_program_tensor(program, root_of(tensor, index), &root);
	box = box_of(tensor);
	return op <= tensor->last_op && op <= root.last_op &&
	       written_before(program, op, root_of(tensor, index), &box) ==
		       elements(tensor);
}

bool uc_life_is_writable(const struct uc_program *program, uint32_t op,
			 uint16_t index, struct uc_tensor *tensor)
{
	struct uc_tensor root = {0};

	if (index >= program->tensor_count)
		return false;
	uc_program_tensor(program, index, tensor);
	uc_program_tensor(program, root_of(tensor, index), &root);
	return tensor->first_op == op && op <= tensor->last_op &&
	       root.first_op <= op && op <= root.last_op &&
	       root.first_op != UC_NO_OP;
}

bool uc_life_is_written_once(const struct uc_program *program, uint32_t index)
{
	struct uc_tensor root = {0};
	struct uc_tensor one = {0};
	struct uc_tensor other = {0};
	struct uc_op writer = {0};
	struct box all = {0};
	bool whole = false;

	uc_program_tensor(program, index, &root);
	if (root.parent != UC_NO_TENSOR)
		return true;
	if (root.first_op != UC_NO_OP) {
		uc_program_op(program, root.first_op, &writer);
		whole = writer.output == index;
	}
	for (uint32_t i = index + 1; i < program->tensor_count; i++) {
		struct box box = {0};

		uc_program_tensor(program, i, &one);
		if (one.parent != index)
			break;
		if (one.first_op == UC_NO_OP)
			continue;
		if (whole || root.first_op == UC_NO_OP)
			return false;
		box = box_of(&one);
		for (uint32_t j = index + 1; j < i; j++) {
			struct box before = {0};

			uc_program_tensor(program, j, &other);
			before = box_of(&other);
			if (other.first_op != UC_NO_OP &&
			    common_elements(&box, &before) != 0)
				return false;
		}
	}
	if (root.last_op != program->op_count)
		return true;
	/* An output is handed out as a whole. */
	all = box_of(&root);
	return written_before(program, program->op_count, (uint16_t)index,
			      &all) == elements(&root);
}

/* ---- sharing ---- */

static int32_t born(const struct uc_tensor *tensor)
{
	return tensor->first_op == UC_NO_OP ? -1 : (int32_t)tensor->first_op;
}

static bool is_view_of(const struct uc_program *program, uint16_t index,
		       uint32_t root)
{
	struct uc_tensor tensor = {0};

	if (index >= program->tensor_count)
		return false;
	uc_program_tensor(program, index, &tensor);
	return tensor.parent == root;
}

/* May `out` lie exactly over `old`, which dies where out is born? Each element
 * is then read before it is written, unless a view reads it elsewhere. */
static bool is_overwrite(const struct uc_program *program,
			 const struct uc_tensor *out, uint32_t out_id,
			 const struct uc_tensor *old, uint32_t old_id)
{
	const struct uc_op_type *type = NULL;
	struct uc_op op = {0};

	if (out->first_op == UC_NO_OP || old->last_op != out->first_op ||
	    old->offset != out->offset || old->bytes != out->bytes)
		return false;
	uc_program_op(program, out->first_op, &op);
	type = uc_op_find(op.code);
	if (!type || !type->elementwise || op.output != out_id ||
	    op.weights == old_id || is_view_of(program, op.input_a, old_id) ||
	    is_view_of(program, op.input_b, old_id))
		return false;
	if (op.input_a == old_id)
		return true;
	return op.input_b == old_id && old->n == out->n && old->h == out->h &&
	       old->w == out->w && old->c == out->c;
}

bool uc_life_shares_well(const struct uc_program *program, uint32_t index)
{
	struct uc_tensor tensor = {0};
	struct uc_tensor other = {0};

	uc_program_tensor(program, index, &tensor);
	if (tensor.parent != UC_NO_TENSOR)
		return true;
	for (uint32_t i = 0; i < index; i++) {
		uc_program_tensor_place(program, i, &other);
		if (!uc_ranges_meet(tensor.offset, tensor.bytes, other.offset,
				    other.bytes))
			continue;
		uc_program_tensor(program, i, &other);
		if (other.parent != UC_NO_TENSOR ||
		    born(&tensor) > (int32_t)other.last_op ||
		    born(&other) > (int32_t)tensor.last_op)
			continue;
		if (!is_overwrite(program, &tensor, index, &other, i) &&
		    !is_overwrite(program, &other, i, &tensor, index))
			return false;
	}
	return true;
}
