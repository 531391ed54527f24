/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of a program, decoded. Whether they make sense is the matter
 * of program_check.c.
 */
#include "program.h"

#include "bytes.h"

#define INPUT_IDS_OFFSET UC_PROGRAM_HEADER_BYTES
#define OUTPUT_IDS_OFFSET (INPUT_IDS_OFFSET + 2U * UC_MAX_IO)
#define TENSORS_OFFSET (OUTPUT_IDS_OFFSET + 2U * UC_MAX_IO)

static const uint8_t *tensor_record(const struct uc_program *program,
				    uint32_t index)
{
	return program->bytes + TENSORS_OFFSET +
	       (size_t)index * UC_TENSOR_RECORD_BYTES;
}

static const uint8_t *op_record(const struct uc_program *program,
				uint32_t index)
{
	return tensor_record(program, program->tensor_count) +
	       (size_t)index * UC_OP_RECORD_BYTES;
}

bool uc_program_decode_header(struct uc_program *program, const uint8_t *bytes,
			      size_t bytes_len)
{
	uint64_t program_bytes = 0;

	memset(program, 0, sizeof(*program));
	if (bytes_len < TENSORS_OFFSET)
		return false;
	if (uc_load_u32(bytes) != UC_PROGRAM_MAGIC ||
	    uc_load_u16(bytes + 4) != UC_PROGRAM_VERSION ||
	    uc_load_u16(bytes + 6) != UC_PROGRAM_HEADER_BYTES ||
	    !uc_is_zero(bytes + 14, 2) ||
	    !uc_is_zero(bytes + 92, UC_PROGRAM_HEADER_BYTES - 92))
		return false;
	program->bytes = bytes;
	program->tensor_count = uc_load_u16(bytes + 8);
	program->op_count = uc_load_u16(bytes + 10);
	program->input_count = bytes[12];
	program->output_count = bytes[13];
	program->program_bytes = uc_load_u32(bytes + 16);
	program->page_bytes = uc_load_u32(bytes + 20);
	program->arena_bytes = uc_load_u64(bytes + 24);
	program->resident_offset = uc_load_u64(bytes + 32);
	program->resident_bytes = uc_load_u64(bytes + 40);
	program->window_offset = uc_load_u64(bytes + 48);
	program->window_bytes = uc_load_u64(bytes + 56);
	program->stream_bytes = uc_load_u64(bytes + 64);
	program->scratch_offset = uc_load_u64(bytes + 72);
	program->scratch_bytes = uc_load_u64(bytes + 80);
	program->spill_pages = uc_load_u32(bytes + 88);

	program_bytes =
		TENSORS_OFFSET +
		(uint64_t)program->tensor_count * UC_TENSOR_RECORD_BYTES +
		(uint64_t)program->op_count * UC_OP_RECORD_BYTES;
	return program->program_bytes == program_bytes &&
	       program_bytes <= bytes_len;
}

bool uc_program_reserved_is_zero(const struct uc_program *program,
				 size_t bytes_len)
{
	for (uint32_t i = 0; i < UC_MAX_IO; i++) {
		if (i >= program->input_count &&
		    uc_program_input(program, i) != UC_NO_TENSOR)
			return false;
		if (i >= program->output_count &&
		    uc_program_output(program, i) != UC_NO_TENSOR)
			return false;
	}
	return uc_is_zero(program->bytes + program->program_bytes,
			  bytes_len - program->program_bytes);
}

bool uc_program_tensor_reserved_is_zero(const struct uc_program *program,
					uint32_t index)
{
	return uc_is_zero(tensor_record(program, index) + 56,
			  UC_TENSOR_RECORD_BYTES - 56);
}

bool uc_program_op_reserved_is_zero(const struct uc_program *program,
				    uint32_t index)
{
	return uc_is_zero(op_record(program, index) + 115,
			  UC_OP_RECORD_BYTES - 115);
}

void uc_program_tensor_place(const struct uc_program *program, uint32_t index,
			     struct uc_tensor *tensor)
{
	const uint8_t *record = tensor_record(program, index);

	tensor->offset = uc_load_u64(record + 16);
	tensor->bytes = uc_load_u64(record + 24);
}

void uc_program_tensor(const struct uc_program *program, uint32_t index,
		       struct uc_tensor *tensor)
{
	const uint8_t *record = tensor_record(program, index);
	const uint8_t *root = record;

	tensor->n = uc_load_u32(record);
	tensor->h = uc_load_u32(record + 4);
	tensor->w = uc_load_u32(record + 8);
	tensor->c = uc_load_u32(record + 12);
	tensor->offset = uc_load_u64(record + 16);
	tensor->bytes = uc_load_u64(record + 24);
	tensor->first_op = uc_load_u16(record + 32);
	tensor->last_op = uc_load_u16(record + 34);
	tensor->dtype = record[36];
	tensor->wire_layout = record[37];
	tensor->parent = uc_load_u16(record + 38);
	for (uint32_t i = 0; i < 4; i++)
		tensor->origin[i] = uc_load_u32(record + 40 + 4 * i);
	if (tensor->parent < program->tensor_count)
		root = tensor_record(program, tensor->parent);
	tensor->stride_w = uc_load_u32(root + 12);
	tensor->stride_h = tensor->stride_w * uc_load_u32(root + 8);
	tensor->stride_n = tensor->stride_h * uc_load_u32(root + 4);
}

void uc_program_op(const struct uc_program *program, uint32_t index,
		   struct uc_op *op)
{
	const uint8_t *record = op_record(program, index);

	op->code = uc_load_u16(record);
	op->flags = uc_load_u16(record + 2);
	op->input_a = uc_load_u16(record + 4);
	op->input_b = uc_load_u16(record + 6);
	op->output = uc_load_u16(record + 8);
	op->scheme = uc_load_u16(record + 10);
	op->act_min = uc_load_f32(record + 12);
	op->act_max = uc_load_f32(record + 16);
	op->alpha = uc_load_f32(record + 20);
	op->beta = uc_load_f32(record + 24);
	op->kernel_h = uc_load_u16(record + 28);
	op->kernel_w = uc_load_u16(record + 30);
	op->stride_h = uc_load_u16(record + 32);
	op->stride_w = uc_load_u16(record + 34);
	op->dilation_h = uc_load_u16(record + 36);
	op->dilation_w = uc_load_u16(record + 38);
	op->pad_top = uc_load_u16(record + 40);
	op->pad_left = uc_load_u16(record + 42);
	op->pad_bottom = uc_load_u16(record + 44);
	op->pad_right = uc_load_u16(record + 46);
	op->groups = uc_load_u32(record + 48);
	op->panel_bytes = uc_load_u32(record + 52);
	op->panel_count = uc_load_u32(record + 56);
	op->resident_panels = uc_load_u32(record + 60);
	op->resident_offset = uc_load_u64(record + 64);
	op->stream_offset = uc_load_u64(record + 72);
	op->step_panels = uc_load_u32(record + 80);
	for (uint32_t i = 0; i < 4; i++)
		op->permutation[i] = uc_load_u16(record + 84 + 2 * i);
	op->weights = uc_load_u16(record + 92);
	op->function = record[95];
	op->spill_page = uc_load_u32(record + 96);
	op->weights_format = record[94];
	op->a_quant.scale = uc_load_f32(record + 100);
	op->b_quant.scale = uc_load_f32(record + 104);
	op->out_quant.scale = uc_load_f32(record + 108);
	op->a_quant.zero = (int8_t)record[112];
	op->b_quant.zero = (int8_t)record[113];
	op->out_quant.zero = (int8_t)record[114];
}

uint16_t uc_program_input(const struct uc_program *program, uint32_t index)
{
	return uc_load_u16(program->bytes + INPUT_IDS_OFFSET + 2 * index);
}

uint16_t uc_program_output(const struct uc_program *program, uint32_t index)
{
	return uc_load_u16(program->bytes + OUTPUT_IDS_OFFSET + 2 * index);
}
