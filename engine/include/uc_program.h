/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program: what the planner decided, decoded from its pages and checked as a whole before the first operator runs.
 * Byte layout and rules: spec/sealed-model.md.
 */
#ifndef UC_PROGRAM_H
#define UC_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

#include "uc_spec.h"

/*
 * A root has memory of its own, a view is a box of its root: it has the root's
 * strides and no memory. Channels are always next to each other.
 */
struct uc_tensor {
	uint32_t n, h, w, c; /* stored as NHWC */
	uint64_t offset;     /* in the arena, of the first element */
	uint64_t bytes;	     /* n * h * w * c elements */
	uint16_t parent;     /* UC_NO_TENSOR: a root */
	uint32_t origin[4];  /* n, h, w, c of a view in its root */
	/* Elements from one w, h, n to the next; from the root's dimensions. */
	uint64_t stride_w, stride_h, stride_n;
	uint16_t first_op; /* UC_NO_OP: an input */
	uint16_t last_op;  /* op_count: an output */
	uint8_t dtype;
	uint8_t wire_layout;
};

/* real = scale * (stored - zero); scale 0: the operand is not s8. */
struct uc_quantisation {
	float scale;
	int32_t zero;
};

struct uc_op {
	uint16_t code;
	uint16_t flags;
	uint16_t input_a;
	uint16_t input_b;
	uint16_t output;
	uint16_t scheme;
	float act_min, act_max;
	float alpha, beta;
	uint16_t kernel_h, kernel_w;
	uint16_t stride_h, stride_w;
	uint16_t dilation_h, dilation_w;
	uint16_t pad_top, pad_left, pad_bottom, pad_right;
	uint32_t groups;
	uint32_t panel_bytes;
	uint32_t panel_count;
	uint32_t resident_panels;
	uint64_t resident_offset;
	uint64_t stream_offset;
	uint32_t step_panels;
	uint16_t permutation[4];
	uint16_t
		weights; /* UC_NO_TENSOR, or the tensor that holds the panels */
	uint32_t spill_page; /* SPILL, FILL: the first page of the slot */
	uint8_t function;    /* of those that have several, else 0 */
	uint8_t weights_format;
	struct uc_quantisation a_quant, b_quant, out_quant;
};

struct uc_program {
	const uint8_t *bytes; /* the program pages in the arena */
	uint32_t page_bytes;
	uint32_t program_bytes;
	uint16_t tensor_count;
	uint16_t op_count;
	uint8_t input_count;
	uint8_t output_count;
	uint64_t arena_bytes;
	uint64_t resident_offset, resident_bytes;
	uint64_t window_offset, window_bytes;
	uint64_t stream_bytes;
	uint64_t scratch_offset, scratch_bytes;
	uint32_t spill_pages; /* that an inference hands out, in all */
};

/* Bytes of an element; 0 of an unknown type. */
static inline uint32_t uc_dtype_bytes(uint8_t dtype)
{
	return dtype == UC_DTYPE_F32 ? 4 : dtype == UC_DTYPE_S8 ? 1 : 0;
}

/* What the sealed header promised, for the check against the program. */
struct uc_program_limits {
	uint32_t page_bytes;
	uint32_t program_pages;
	uint32_t resident_pages;
	uint32_t streamed_pages;
	uint64_t arena_bytes; /* budget_bytes of the header */
};

/*
 * Decodes and checks everything. On UC_ST_BAD_PROGRAM and
 * UC_ST_UNSUPPORTED_OP *detail is the index of the op (or 0x10000 + tensor).
 */
enum uc_status uc_program_check(struct uc_program *program,
				const uint8_t *bytes, size_t bytes_len,
				const struct uc_program_limits *limits,
				uint32_t *detail);

/* The strides of a tensor without gaps. */
static inline void uc_tensor_set_dense(struct uc_tensor *tensor)
{
	tensor->stride_w = tensor->c;
	tensor->stride_h = (uint64_t)tensor->w * tensor->c;
	tensor->stride_n = tensor->h * tensor->stride_h;
}

/* Bytes from the first element of a checked tensor to the end of its last. */
static inline uint64_t uc_tensor_span(const struct uc_tensor *tensor)
{
	return uc_dtype_bytes(tensor->dtype) *
	       ((tensor->n - 1) * tensor->stride_n +
		(tensor->h - 1) * tensor->stride_h +
		(tensor->w - 1) * tensor->stride_w + tensor->c);
}

/* Decode one record; the index must be in range. A view's strides are those of
 * its root, whatever the record says of it was not checked yet. */
void uc_program_tensor(const struct uc_program *program, uint32_t index,
		       struct uc_tensor *tensor);
void uc_program_op(const struct uc_program *program, uint32_t index,
		   struct uc_op *op);
uint16_t uc_program_input(const struct uc_program *program, uint32_t index);
uint16_t uc_program_output(const struct uc_program *program, uint32_t index);

#endif /* UC_PROGRAM_H */
