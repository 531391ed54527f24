/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One operator: a row in the registry (src/ops/registry.c). A new operator is one new file in src/ops/ and its row.
 *
 * check   sees only shapes and attributes and refuses whatever run could not
 *         do within its buffers; sizes, offsets, live ranges and weight
 *         ranges are checked for all operators in program.c.
 * scratch bytes of the scratch region that run needs (spec: Scratch).
 * run     computes one step: the whole operator when it has no weights, else
 *         panels [first_panel, first_panel + panel_count) at `panels`. Steps
 *         come in ascending order and cover all panels once.
 */
#ifndef UC_OP_H
#define UC_OP_H

#include <stdbool.h>

#include "uc_program.h"

struct uc_op_shapes {
	const struct uc_op *op;
	const struct uc_tensor *a; /* NULL when the op has no input_a */
	const struct uc_tensor *b; /* NULL when the op has no input_b */
	const struct uc_tensor *out;
};

struct uc_op_step {
	struct uc_op_shapes s;
	const float *a;
	const float *b;
	float *out;
	const uint8_t *panels; /* first_panel's first byte; 32-byte aligned */
	uint32_t first_panel;
	uint32_t panel_count;
	uint8_t *scratch; /* 64-byte aligned */
};

struct uc_op_type {
	uint16_t code;
	bool elementwise;   /* out may lie exactly over a (or b) */
	bool has_functions; /* the record says which; check refuses others */
	bool no_input;
	bool second_input; /* but with UC_OP_FLAG_SCALAR_OPERAND */
	uint16_t flags;	   /* UC_OP_FLAG_* that its record may have */
	bool int8_weights; /* panels may be stored as int8 */
	bool (*check)(const struct uc_op_shapes *s);
	/* Weights the op must have: panel size and count; both 0 for none. */
	void (*panels)(const struct uc_op_shapes *s, uint64_t *panel_bytes,
		       uint64_t *panel_count);
	uint64_t (*scratch)(const struct uc_op_shapes *s);
	void (*run)(const struct uc_op_step *step);
};

/* NULL when this build does not have the operator. */
const struct uc_op_type *uc_op_find(uint16_t code);

/*
 * The three callbacks again, with the format of the weights taken into
 * account: an operator itself only ever sees f32 panels. A part of a step is
 * unpacked into scratch, computed, and the next part comes.
 */

/* False: the operator cannot have weights of its record's format. */
bool uc_op_panels(const struct uc_op_type *type, const struct uc_op_shapes *s,
		  uint64_t *panel_bytes, uint64_t *panel_count);
uint64_t uc_op_scratch(const struct uc_op_type *type,
		       const struct uc_op_shapes *s);
void uc_op_run(const struct uc_op_type *type, const struct uc_op_step *step);

#endif /* UC_OP_H */
