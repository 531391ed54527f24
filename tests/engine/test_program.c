/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program checker, rule by rule: a good program is changed in one place
 * and must be refused there, whatever the other places say.
 */
#include <math.h>
#include <string.h>

#include "help_check.h"
#include "help_model.h"
#include "uc_program.h"

static struct help_model model;
static struct uc_program program;
static uint32_t detail;

static enum uc_status check(void)
{
	const struct uc_program_limits limits = {
		.page_bytes = model.program.page_bytes,
		.program_pages = model.program_pages,
		.resident_pages = model.resident_pages,
		.streamed_pages = model.streamed_pages,
		.arena_bytes = model.program.arena_bytes,
	};

	detail = 0xDDDDDDDDU;
	return uc_program_check(&program, model.plain,
				(size_t)model.program_pages *
					model.program.page_bytes,
				&limits, &detail);
}

static uint8_t *tensor_record(uint32_t index)
{
	return model.plain + 192 + index * UC_TENSOR_RECORD_BYTES;
}

static uint8_t *op_record(uint32_t index)
{
	return tensor_record(model.program.tensor_count) +
	       index * UC_OP_RECORD_BYTES;
}

static void put(uint8_t *to, uint64_t value, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		to[i] = (uint8_t)(value >> (8 * i));
}

/* Change `bytes` bytes at `at`, expect a refusal there, put them back. */
static void refuse(const char *what, uint8_t *at, uint64_t value,
		   uint32_t bytes, enum uc_status status, uint32_t where)
{
	uint8_t kept[8] = {0};

	CONTEXT("%s = %llu", what, (unsigned long long)value);
	memcpy(kept, at, bytes);
	put(at, value, bytes);
	CHECK(memcmp(kept, at, bytes) != 0);
	CHECK_EQUAL(check(), status);
	CHECK_EQUAL(detail, where);
	CHECK(program.bytes == NULL && program.op_count == 0);
	memcpy(at, kept, bytes);
	CHECK_EQUAL(check(), UC_ST_OK);
}

static void refuse_header(const char *what, uint32_t offset, uint64_t value,
			  uint32_t bytes)
{
	refuse(what, model.plain + offset, value, bytes, UC_ST_BAD_PROGRAM,
	       UC_PROGRAM_DETAIL);
}

static void refuse_tensor(const char *what, uint32_t tensor, uint32_t offset,
			  uint64_t value, uint32_t bytes)
{
	refuse(what, tensor_record(tensor) + offset, value, bytes,
	       UC_ST_BAD_PROGRAM, UC_TENSOR_DETAIL + tensor);
}

static void refuse_op(const char *what, uint32_t op, uint32_t offset,
		      uint64_t value, uint32_t bytes)
{
	refuse(what, op_record(op) + offset, value, bytes, UC_ST_BAD_PROGRAM,
	       op);
}

static void check_header(void)
{
	const struct uc_program *p = &model.program;

	refuse_header("magic", 0, UC_PROGRAM_MAGIC + 1, 4);
	refuse_header("version", 4, 1, 2);
	refuse_header("header bytes", 6, 192, 2);
	refuse_header("tensor count", 8, p->tensor_count + 1U, 2);
	refuse_header("tensor count", 8, 0, 2);
	refuse_header("tensor count", 8, 0xFFFF, 2);
	refuse_header("op count", 10, p->op_count - 1U, 2);
	refuse_header("op count", 10, 0xFFFF, 2);
	refuse_header("input count", 12, 0, 1);
	refuse_header("input count", 12, 2, 1);
	refuse_header("input count", 12, 255, 1);
	refuse_header("output count", 13, 0, 1);
	refuse_header("output count", 13, 3, 1);
	refuse_header("output count", 13, 17, 1);
	refuse_header("reserved", 14, 1, 2);
	refuse_header("program bytes", 16, p->program_bytes - 64, 4);
	refuse_header("program bytes", 16, 0xFFFFFFFFU, 4);
	refuse_header("page bytes", 20, 2 * p->page_bytes, 4);
	refuse_header("arena bytes", 24, p->arena_bytes - 64, 8);
	refuse_header("arena bytes", 24, p->arena_bytes + 64, 8);
	refuse_header("reserved", 88, 1, 8);
	refuse_header("reserved", 127, 1, 1);
	refuse_header("input", 128, 0xFFFF, 2);
	refuse_header("input", 128, p->tensor_count, 2);
	refuse_header("unused input", 130, 0, 2);
	refuse_header("output", 160, p->tensor_count, 2);
	refuse_header("the same output twice", 162, model.outputs[0], 2);
	refuse_header("unused output", 190, 0, 2);
	refuse_header("after the program", p->program_bytes, 1, 1);
	refuse_header("the last byte", model.program_pages * p->page_bytes - 1,
		      1, 1);
}

static void check_regions(void)
{
	const struct uc_program *p = &model.program;

	refuse_header("resident offset", 32, p->resident_offset - 64, 8);
	refuse_header("resident offset", 32, p->resident_offset + 8, 8);
	refuse_header("resident offset", 32, 0, 8);
	refuse_header("resident offset", 32, UINT64_MAX - 63, 8);
	refuse_header("resident offset over the window", 32,
		      p->window_offset - 64, 8);
	refuse_header("resident bytes", 40, p->resident_bytes + p->page_bytes,
		      8);
	refuse_header("resident bytes", 40, UINT64_MAX, 8);
	refuse_header("resident bytes", 40, 0, 8);
	refuse_header("window offset", 48, p->window_offset - 64, 8);
	refuse_header("window offset", 48, p->arena_bytes - 64, 8);
	refuse_header("window offset", 48, UINT64_MAX - 127, 8);
	refuse_header("window bytes", 56, p->window_bytes + 65536, 8);
	refuse_header("window bytes", 56, UINT64_MAX, 8);
	refuse_header("window bytes", 56, p->window_bytes - 32, 8);
	refuse_header("window bytes", 56, 0, 8);
	refuse_header("stream bytes", 64, p->stream_bytes + p->page_bytes, 8);
	refuse_header("stream bytes", 64, p->stream_bytes + 32, 8);
	refuse_header("scratch offset", 72, p->scratch_offset - 64, 8);
	refuse_header("scratch offset", 72, 4096, 8);
	refuse_header("scratch bytes", 80, p->scratch_bytes - 1, 8);
	refuse_header("scratch bytes", 80, 0, 8);
	refuse_header("scratch bytes", 80, UINT64_MAX - 64, 8);
}

static void check_tensors(void)
{
	const struct uc_program *p = &model.program;
	uint32_t last = p->tensor_count - 1U;
	const struct uc_tensor *t = &model.tensors[3];

	refuse_tensor("n", 3, 0, 0, 4);
	refuse_tensor("n", 3, 0, 2, 4);
	refuse_tensor("h", 3, 4, UC_MAX_DIM + 1, 4);
	refuse_tensor("w", 3, 8, 0xFFFFFFFFU, 4);
	refuse_tensor("c", 3, 12, 1U << 31, 4);
	refuse_tensor("offset", 3, 16, t->offset + 4, 8);
	refuse_tensor("offset", 3, 16, 0, 8);
	refuse_tensor("offset", 3, 16, UC_ENGINE_CONTEXT_BYTES, 8);
	refuse_tensor("offset", 3, 16, p->resident_offset, 8);
	refuse_tensor("offset", 3, 16, p->window_offset, 8);
	refuse_tensor("offset", 3, 16, p->scratch_offset, 8);
	refuse_tensor("offset", 3, 16, UINT64_MAX - 63, 8);
	refuse_tensor("offset", last, 16,
		      model.tensors[last].offset + UC_ARENA_SLACK_BYTES, 8);
	refuse_tensor("bytes", 3, 24, t->bytes + 4, 8);
	refuse_tensor("bytes", 3, 24, t->bytes | (UINT64_C(1) << 32), 8);
	refuse_tensor("first op", 3, 32, 0, 2);
	refuse_tensor("first op", 3, 32, UC_NO_OP, 2);
	refuse_tensor("first op", 3, 32, p->op_count, 2);
	refuse_tensor("first op of an input", 0, 32, 0, 2);
	/* Tensor 3 is read twice: the second reader comes too late. */
	refuse("last op", tensor_record(3) + 34, t->last_op - 1U, 2,
	       UC_ST_BAD_PROGRAM, t->last_op);
	refuse_tensor("last op", 2, 34, model.tensors[2].last_op - 1U, 2);
	refuse_tensor("last op", 3, 34, t->last_op + 1U, 2);
	refuse_tensor("last op", 3, 34, p->op_count, 2);
	refuse_tensor("last op", 3, 34, 0xFFFF, 2);
	refuse_tensor("last op of an output", model.outputs[1], 34,
		      p->op_count - 1U, 2);
	refuse_tensor("dtype", 3, 36, 2, 1);
	refuse_tensor("layout", 0, 37, 2, 1);
	refuse_tensor("layout inside", 3, 37, UC_WIRE_NCHW, 1);
	refuse_tensor("reserved", 3, 38, 1, 1);
	refuse_tensor("reserved", 3, 63, 1, 1);
}

static uint32_t float_bits(float value)
{
	uint32_t bits = 0;

	memcpy(&bits, &value, 4);
	return bits;
}

static void check_ops(void)
{
	const struct uc_op *conv = &model.ops[0];

	refuse("code", op_record(2), 250, 2, UC_ST_UNSUPPORTED_OP, 2);
	refuse("code", op_record(0), 0, 2, UC_ST_UNSUPPORTED_OP, 0);
	refuse_op("flags", 0, 2, 8, 2);
	/* Its tensor has lost its last reader, which is seen first. */
	refuse("input a", op_record(1) + 4, UC_NO_TENSOR, 2, UC_ST_BAD_PROGRAM,
	       UC_TENSOR_DETAIL + model.ops[1].input_a);
	/* That of operator 3 is read again later. */
	refuse_op("input a", 3, 4, UC_NO_TENSOR, 2);
	refuse_op("input a", 3, 4, model.program.tensor_count, 2);
	refuse_op("input b", 0, 6, 0, 2);
	refuse_op("scheme", 0, 10, UC_SCHEME_NONE, 2);
	refuse_op("scheme", 0, 10, 77, 2);
	refuse_op("act min", 0, 12, float_bits(NAN), 4);
	refuse_op("act max", 0, 16, float_bits(NAN), 4);
	refuse_op("act max", 0, 16, float_bits(-1.0f), 4);
	refuse_op("alpha", 0, 20, float_bits(NAN), 4);
	refuse_op("beta", 0, 24, float_bits(-NAN), 4);
	refuse_op("kernel h", 0, 28, 0, 2);
	refuse_op("kernel h", 0, 28, 2, 2);
	refuse_op("kernel w", 0, 30, UC_MAX_KERNEL_SIZE + 1, 2);
	refuse_op("stride h", 0, 32, 0, 2);
	refuse_op("stride w", 0, 34, UC_MAX_STRIDE + 1, 2);
	refuse_op("dilation h", 0, 36, 0, 2);
	refuse_op("dilation w", 0, 38, 0xFFFF, 2);
	refuse_op("pad top", 0, 40, 0xFFFF, 2);
	refuse_op("pad right", 0, 46, 3, 2);
	refuse_op("groups", 0, 48, 0, 4);
	refuse_op("groups", 0, 48, 2, 4);
	refuse_op("groups", 0, 48, 0xFFFFFFFFU, 4);
	refuse_op("panel bytes", 0, 52, conv->panel_bytes + 32U, 4);
	refuse_op("panel bytes", 0, 52, 0, 4);
	refuse_op("panel count", 0, 56, conv->panel_count + 1U, 4);
	refuse_op("panel count", 0, 56, 0, 4);
	refuse_op("resident panels", 0, 60, conv->panel_count + 1U, 4);
	refuse_op("resident panels", 0, 60, 0xFFFFFFFFU, 4);
	refuse_op("resident offset", 1, 64, model.ops[1].resident_offset + 32,
		  8);
	refuse_op("resident offset", 1, 64, UINT64_MAX - 63, 8);
	refuse_op("stream offset", 0, 72, 32, 8);
	refuse_op("stream offset", 1, 72, model.ops[1].stream_offset - 32, 8);
	refuse_op("stream offset", 1, 72, UINT64_MAX - 31, 8);
	refuse_op("step panels", 0, 80, 0, 4);
	refuse_op("step panels", 0, 80, conv->panel_count, 4);
	refuse_op("reserved", 0, 92, 1, 1);
	refuse_op("int8 weights in f32 panels", 0, 94, UC_WEIGHTS_INT8, 1);
	refuse_op("weights format", 0, 94, 2, 1);
	refuse_op("a function", 0, 95, 1, 1);
	refuse_op("a scale of f32", 0, 100, float_bits(1.0f), 4);
	refuse_op("a scale of nothing", 0, 104, float_bits(NAN), 4);
	refuse_op("a scale of f32", 0, 108, float_bits(0.5f), 4);
	refuse_op("a zero point of f32", 0, 112, 1, 1);
	refuse_op("a zero point of f32", 0, 114, 0xFF, 1);
	refuse_op("reserved", 0, 115, 1, 1);
	refuse_op("reserved", 0, 127, 1, 1);
	/* The constant has no input, and a panel is not of no bytes. */
	CHECK_EQUAL(model.ops[5].code, UC_OP_CONSTANT);
	refuse_op("constant's input", 5, 4, 0, 2);
	refuse_op("constant's panel bytes", 5, 52, 0, 4);
	refuse_op("constant's panel bytes", 5, 52, 48, 4);
}

/* Reading what is not yet written, or no longer there. */
static void check_lives(void)
{
	struct uc_op *add = &model.ops[4];

	CHECK_EQUAL(add->code, UC_OP_ADD);
	/* Its own output. */
	refuse("reading one's own output", op_record(4) + 6, add->output, 2,
	       UC_ST_BAD_PROGRAM, UC_TENSOR_DETAIL + add->input_b);
	/* The second output of the model is written by a later operator, and
	 * kept to the end: only the order of operators forbids it. */
	refuse_op("reading a later output", 7, 4, model.outputs[1], 2);
	/* The input was last read by operator 0. */
	refuse("reading a dead tensor", op_record(1) + 4, model.inputs[0], 2,
	       UC_ST_BAD_PROGRAM, UC_TENSOR_DETAIL + model.ops[1].input_a);
	refuse("writing another's tensor", op_record(1) + 8,
	       model.ops[0].output, 2, UC_ST_BAD_PROGRAM,
	       UC_TENSOR_DETAIL + model.ops[1].output);
	refuse("writing no tensor", op_record(1) + 8, UC_NO_TENSOR, 2,
	       UC_ST_BAD_PROGRAM, UC_TENSOR_DETAIL + model.ops[1].output);
}

/* Two live tensors on the same bytes; and the cases in which they may be. */
static void check_overlaps(void)
{
	const struct uc_op *add = &model.ops[4];
	const struct uc_op *mul = &model.ops[6];
	uint64_t a = model.tensors[add->input_a].offset;
	uint64_t b = model.tensors[add->input_b].offset;
	uint8_t *out = tensor_record(add->output) + 16;
	uint8_t kept[8] = {0};

	CHECK_EQUAL(mul->code, UC_OP_MUL);
	CONTEXT("the sum over its first operand");
	memcpy(kept, out, 8);
	put(out, a, 8);
	CHECK_EQUAL(check(), UC_ST_OK);
	CONTEXT("the sum over its second operand");
	put(out, b, 8);
	CHECK_EQUAL(check(), UC_ST_OK);
	CONTEXT("the sum over half of its operand");
	put(out, a + 64, 8);
	CHECK_EQUAL(check(), UC_ST_BAD_PROGRAM);
	CHECK(detail & UC_TENSOR_DETAIL);
	memcpy(out, kept, 8);

	refuse_tensor("a product over the constant", mul->output, 16,
		      model.tensors[mul->input_b].offset, 8);
	/* A convolution reads its input to the end. */
	refuse_tensor("a convolution over its input", model.ops[1].output, 16,
		      model.tensors[model.ops[1].input_a].offset, 8);
	/* `narrow` lives on behind the convolution that reads it. */
	refuse_tensor("over a tensor that is still read", model.ops[3].output,
		      16, model.tensors[model.ops[3].input_a].offset, 8);
	/* Dead by then: `wide` may be overwritten by the sum. */
	CONTEXT("over a dead tensor");
	put(out, model.tensors[model.ops[0].output].offset, 8);
	CHECK_EQUAL(check(), UC_ST_OK);
	memcpy(out, kept, 8);
	CHECK_EQUAL(check(), UC_ST_OK);
}

/* No single changed byte may lead to a crash, a hang or a wild read. */
static void check_every_byte(void)
{
	uint32_t accepted = 0;

	for (uint32_t i = 0; i < model.program.program_bytes; i++) {
		for (uint32_t bit = 0; bit < 8; bit++) {
			CONTEXT("byte %u, bit %u", i, bit);
			model.plain[i] ^= (uint8_t)(1U << bit);
			if (check() == UC_ST_OK)
				accepted++;
			model.plain[i] ^= (uint8_t)(1U << bit);
		}
	}
	/* Numbers such as act_min may well be others. */
	CHECK(accepted > 0 && accepted < model.program.program_bytes * 4);
	CHECK_EQUAL(check(), UC_ST_OK);
}

/* Promises of the sealed header that the program does not keep. */
static void check_limits(void)
{
	const struct uc_program_limits good = {
		.page_bytes = model.program.page_bytes,
		.program_pages = model.program_pages,
		.resident_pages = model.resident_pages,
		.streamed_pages = model.streamed_pages,
		.arena_bytes = model.program.arena_bytes,
	};
	size_t len = (size_t)good.program_pages * good.page_bytes;

	for (uint32_t i = 0; i < 7; i++) {
		struct uc_program_limits limits = good;
		size_t shorter = len;

		CONTEXT("limit %u", i);
		switch (i) {
		case 0:
			limits.page_bytes *= 2;
			break;
		case 1:
			limits.program_pages++;
			break;
		case 2:
			limits.resident_pages--;
			break;
		case 3:
			limits.streamed_pages++;
			break;
		case 4:
			limits.arena_bytes -= 64;
			break;
		case 5:
			limits.arena_bytes = 64;
			break;
		default:
			shorter = model.program.program_bytes - 1;
			break;
		}
		CHECK_EQUAL(uc_program_check(&program, model.plain, shorter,
					     &limits, &detail),
			    UC_ST_BAD_PROGRAM);
		CHECK_EQUAL(detail, UC_PROGRAM_DETAIL);
	}
	for (size_t i = 0; i < 256; i++)
		CHECK_EQUAL(uc_program_check(&program, model.plain, i, &good,
					     &detail),
			    UC_ST_BAD_PROGRAM);
}

int main(void)
{
	help_sample(&model, 50, 1, 0);
	CHECK(model.ops[0].resident_panels > 0 &&
	      model.ops[2].resident_panels > 0);
	CHECK_EQUAL(check(), UC_ST_OK);
	check_header();
	check_regions();
	check_tensors();
	check_ops();
	check_lives();
	check_overlaps();
	check_every_byte();
	check_limits();
	help_free(&model);
	return 0;
}
