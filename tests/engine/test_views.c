/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boxes of tensors, weights that a tensor holds, and activations that leave the
 * secure world: a network cut into bands of rows gives the answer of the same
 * network whole, to the bit; what is wrong about views is refused; what comes
 * back is only what left, in this inference.
 */
#include <string.h>

#include "help_check.h"
#include "help_model.h"

#define ROWS 12U
#define WIDTH 7U
#define CHANNELS 12U

static struct help_model whole;
static struct help_model bands;
static struct help_device device;

static void window_3x3(struct uc_op *op, uint16_t top, uint16_t bottom)
{
	op->kernel_h = op->kernel_w = 3;
	op->pad_left = op->pad_right = 1;
	op->pad_top = top;
	op->pad_bottom = bottom;
}

/* conv 3x3, depthwise 3x3, pointwise and the sum with what went in. */
static void make_whole(void)
{
	uint16_t x = 0, wide = 0, deep = 0, narrow = 0, sum = 0;
	struct uc_op *op = NULL;

	help_init(&whole);
	x = help_tensor(&whole, 1, ROWS, WIDTH, 4);
	help_input(&whole, x, UC_WIRE_NCHW);
	wide = help_tensor(&whole, 1, ROWS, WIDTH, CHANNELS);
	window_3x3(help_op(&whole, UC_OP_CONV_2D, x, UC_NO_TENSOR, wide), 1, 1);
	deep = help_tensor(&whole, 1, ROWS, WIDTH, CHANNELS);
	op = help_op(&whole, UC_OP_DEPTHWISE_CONV_2D, wide, UC_NO_TENSOR, deep);
	window_3x3(op, 1, 1);
	op->groups = CHANNELS;
	narrow = help_tensor(&whole, 1, ROWS, WIDTH, 4);
	(void)help_op(&whole, UC_OP_CONV_2D, deep, UC_NO_TENSOR, narrow);
	sum = help_tensor(&whole, 1, ROWS, WIDTH, 4);
	(void)help_op(&whole, UC_OP_ADD, narrow, x, sum);
	help_output(&whole, sum, UC_WIRE_NCHW);
	help_plan(&whole);
	help_fill(&whole, 1);
	help_seal(&whole);
}

/*
 * The same in two bands of six rows, with what the second band needs of the
 * first one's intermediates kept, all weights held, the wide tensor of the
 * first band in two slices of channels, and the sum spilled and filled.
 */
static void make_bands(void)
{
	struct help_model *m = &bands;
	uint16_t x, x0, x1, x2, x3, held[3], sum, sum0, sum1;
	uint16_t wide0, wide0_tail, wide1, wide1_head, wide1_rest;
	uint16_t deep, narrow, back;
	struct uc_op *op = NULL;

	help_init(m);
	x = help_tensor(m, 1, ROWS, WIDTH, 4);
	x0 = help_rows(m, x, 0, 8); /* for wide rows 0 ... 6 */
	x1 = help_rows(m, x, 6, 6); /* for wide rows 7 ... 11 */
	x2 = help_rows(m, x, 0, 6);
	x3 = help_rows(m, x, 6, 6);
	help_input(m, x, UC_WIRE_NCHW);
	for (uint32_t i = 0; i < 3; i++) {
		static const uint32_t bytes[3] = {2 * 32 * 37, 2 * 32 * 10,
						  32 * 13};

		held[i] = help_tensor(m, 1, 1, 1, bytes[i] / 4);
		op = help_op(m, UC_OP_CONSTANT, UC_NO_TENSOR, UC_NO_TENSOR,
			     held[i]);
		/* Panels like the operator's: the same made-up weights. */
		op->panel_bytes = bytes[i] / (i < 2 ? 2 : 1);
	}
	sum = help_tensor(m, 1, ROWS, WIDTH, 4);
	sum0 = help_rows(m, sum, 0, 6);
	sum1 = help_rows(m, sum, 6, 6);

	/* The first band: wide rows 0 to 6. */
	wide0 = help_tensor(m, 1, 7, WIDTH, CHANNELS);
	wide0_tail = help_rows(m, wide0, 5, 2);
	op = help_op(m, UC_OP_CONV_2D, x0, UC_NO_TENSOR, wide0);
	window_3x3(op, 1, 0);
	op->weights = held[0];
	deep = help_tensor(m, 1, 6, WIDTH, CHANNELS);
	op = help_op(m, UC_OP_DEPTHWISE_CONV_2D, wide0, UC_NO_TENSOR, deep);
	window_3x3(op, 1, 0);
	op->groups = CHANNELS;
	op->weights = held[1];
	narrow = help_tensor(m, 1, 6, WIDTH, 4);
	help_op(m, UC_OP_CONV_2D, deep, UC_NO_TENSOR, narrow)->weights =
		held[2];
	(void)help_op(m, UC_OP_ADD, narrow, x2, sum0);

	/* The second: wide rows 5 and 6 are kept, 7 to 11 computed. */
	wide1 = help_tensor(m, 1, 7, WIDTH, CHANNELS);
	wide1_head = help_rows(m, wide1, 0, 2);
	wide1_rest = help_rows(m, wide1, 2, 5);
	(void)help_op(m, UC_OP_CLAMP, wide0_tail, UC_NO_TENSOR, wide1_head);
	op = help_op(m, UC_OP_CONV_2D, x1, UC_NO_TENSOR, wide1_rest);
	window_3x3(op, 0, 1);
	op->weights = held[0];
	deep = help_tensor(m, 1, 6, WIDTH, CHANNELS);
	op = help_op(m, UC_OP_DEPTHWISE_CONV_2D, wide1, UC_NO_TENSOR, deep);
	window_3x3(op, 0, 1);
	op->groups = CHANNELS;
	op->weights = held[1];
	narrow = help_tensor(m, 1, 6, WIDTH, 4);
	help_op(m, UC_OP_CONV_2D, deep, UC_NO_TENSOR, narrow)->weights =
		held[2];
	(void)help_op(m, UC_OP_ADD, narrow, x3, sum1);

	(void)help_op(m, UC_OP_SPILL, sum, UC_NO_TENSOR, UC_NO_TENSOR);
	back = help_tensor(m, 1, ROWS, WIDTH, 4);
	(void)help_op(m, UC_OP_FILL, UC_NO_TENSOR, UC_NO_TENSOR, back);
	help_output(m, back, UC_WIRE_NCHW);
	help_plan(m);
	help_fill(m, 1);
	/* The operators' weights, where the constants' are. */
	memcpy(m->plain + (size_t)(m->program_pages + m->resident_pages) *
				  HELP_PAGE_BYTES,
	       whole.plain +
		       (size_t)(whole.program_pages + whole.resident_pages) *
			       HELP_PAGE_BYTES,
	       m->program.stream_bytes);
	help_seal(m);
}

static uint8_t pages[8 * (HELP_PAGE_BYTES + UC_PAGE_TAG_BYTES)];

/* Up to the first page that is to be handed out. */
static void run_to_spilling(uint32_t seed)
{
	uint32_t state = help_state(&device);

	/* One that is under way ends by what is out of order. */
	if (state == UC_STATE_SPILLING || state == UC_STATE_FILLING)
		CHECK_EQUAL(help_command(&device, UC_CMD_INFER, 0, 0, NULL, 0),
			    UC_ST_BAD_STATE);
	CHECK_EQUAL(help_command(&device, UC_CMD_INFER, 0, 0, NULL, 0),
		    UC_ST_OK);
	CHECK_EQUAL(help_inputs(&device, &bands, seed), UC_ST_OK);
	CHECK_EQUAL(help_push_wanted(&device, &bands, 1), UC_ST_OK);
	CHECK_EQUAL(help_state(&device), UC_STATE_SPILLING);
}

static void read_output(float *to)
{
	CHECK_EQUAL(help_command(&device, UC_CMD_OUTPUT, 0, 0, to,
				 4 * ROWS * WIDTH * 4),
		    UC_ST_OK);
}

static size_t take_all(uint32_t count)
{
	size_t len = count * help_sealed_page_bytes(&bands);

	CHECK(len <= sizeof(pages));
	CHECK_EQUAL(help_command(&device, UC_CMD_SPILL, 0, count, pages, len),
		    UC_ST_OK);
	return len;
}

static void check_answer(void)
{
	static float expected[ROWS * WIDTH * 4];
	static float got[ROWS * WIDTH * 4];
	struct uc_want want = {0};
	struct uc_engine_stats stats = {0};
	size_t len = 0;

	CONTEXT("the network whole");
	help_device_init(&device, whole.program.arena_bytes);
	CHECK_EQUAL(help_open(&device, &whole), UC_ST_OK);
	CHECK_EQUAL(help_push_wanted(&device, &whole, 1), UC_ST_OK);
	help_infer(&device, &whole, 3, 1, expected);
	help_device_free(&device);

	CONTEXT("the network in bands");
	help_device_init(&device, bands.program.arena_bytes);
	help_guard(device.memory, device.len);
	CHECK_EQUAL(help_open(&device, &bands), UC_ST_OK);
	CHECK_EQUAL(help_push_wanted(&device, &bands, 1), UC_ST_OK);
	for (uint32_t i = 0; i < 2; i++) {
		run_to_spilling(3);
		uc_engine_want(device.session.engine, &want);
		CHECK_EQUAL(want.first, 0);
		CHECK_EQUAL(want.count, bands.program.spill_pages);
		len = take_all(want.count);
		CHECK_EQUAL(help_state(&device), UC_STATE_FILLING);
		uc_engine_want(device.session.engine, &want);
		CHECK_EQUAL(want.count, bands.program.spill_pages);
		CHECK_EQUAL(help_command(&device, UC_CMD_FILL, 0, want.count,
					 pages, len),
			    UC_ST_OK);
		CHECK_EQUAL(help_state(&device), UC_STATE_DONE);
		read_output(got);
		CHECK(memcmp(expected, got, sizeof(got)) == 0);
	}
	help_stats(&device, &stats);
	CHECK_EQUAL(stats.spilled_bytes,
		    bands.program.spill_pages * HELP_PAGE_BYTES);
	help_guard(NULL, 0);
}

/* What left is not plaintext, and not twice the same. */
static void check_secrecy(void)
{
	static uint8_t before[sizeof(pages)];
	size_t len = 0;

	CONTEXT("what leaves");
	run_to_spilling(3);
	len = take_all(bands.program.spill_pages);
	memcpy(before, pages, len);
	run_to_spilling(3);
	(void)take_all(bands.program.spill_pages);
	for (size_t i = 0; i + 16 <= len; i += 16)
		CHECK(memcmp(before + i, pages + i, 16) != 0);
	CONTEXT("a page of an earlier inference");
	CHECK_EQUAL(help_command(&device, UC_CMD_FILL, 0,
				 bands.program.spill_pages, before, len),
		    UC_ST_NOT_AUTHENTIC);
	CHECK_EQUAL(help_state(&device), UC_STATE_READY);
	CONTEXT("a page that was changed");
	for (size_t at = 0; at < len; at += 97) {
		run_to_spilling(3);
		(void)take_all(bands.program.spill_pages);
		pages[at] ^= 1;
		CHECK_EQUAL(help_command(&device, UC_CMD_FILL, 0,
					 bands.program.spill_pages, pages, len),
			    UC_ST_NOT_AUTHENTIC);
		CHECK_EQUAL(help_state(&device), UC_STATE_READY);
	}
}

static void go_to(uint32_t state)
{
	run_to_spilling(3);
	if (state == UC_STATE_FILLING)
		(void)take_all(bands.program.spill_pages);
	CHECK_EQUAL(help_state(&device), state);
}

/* Every other command, and every wrong number, ends the inference. */
static void check_order(void)
{
	static const uint32_t states[2] = {UC_STATE_SPILLING, UC_STATE_FILLING};
	static const uint32_t others[] = {UC_CMD_OPEN, UC_CMD_PUSH,
					  UC_CMD_INFER, UC_CMD_INPUT,
					  UC_CMD_OUTPUT};
	size_t slot = help_sealed_page_bytes(&bands);

	for (uint32_t i = 0; i < 2; i++) {
		uint32_t right = i == 0 ? UC_CMD_SPILL : UC_CMD_FILL;
		uint32_t wrong = i == 0 ? UC_CMD_FILL : UC_CMD_SPILL;

		CONTEXT("state %u", states[i]);
		for (uint32_t j = 0; j < sizeof(others) / 4; j++) {
			go_to(states[i]);
			if (others[j] == UC_CMD_OPEN)
				CHECK_EQUAL(help_open(&device, &bands),
					    UC_ST_BAD_STATE);
			else
				CHECK_EQUAL(help_command(&device, others[j], 0,
							 1, pages, slot),
					    UC_ST_BAD_STATE);
			CHECK_EQUAL(help_state(&device), UC_STATE_READY);
		}
		go_to(states[i]);
		CHECK_EQUAL(help_command(&device, wrong, 0, 1, pages, slot),
			    UC_ST_BAD_STATE);
		go_to(states[i]);
		CHECK_EQUAL(help_command(&device, right, 1, 1, pages, slot),
			    UC_ST_BAD_PAGE_INDEX);
		go_to(states[i]);
		CHECK_EQUAL(help_command(&device, right, 0, 0, pages, slot),
			    UC_ST_BAD_PAGE_INDEX);
		go_to(states[i]);
		CHECK_EQUAL(help_command(&device, right, 0,
					 bands.program.spill_pages + 1, pages,
					 slot),
			    UC_ST_BAD_PAGE_INDEX);
		go_to(states[i]);
		CHECK_EQUAL(help_command(&device, right, 0, 1, pages, slot - 1),
			    UC_ST_BAD_PARAMETERS);
		go_to(states[i]);
		CHECK_EQUAL(help_command(&device, right, 0, 1, NULL, slot),
			    UC_ST_BAD_PARAMETERS);
		CHECK_EQUAL(help_state(&device), UC_STATE_READY);
		CHECK_EQUAL(device.params[2].b, 0);
	}
}

/* Nothing leaves below a key that is not there; the next inference is served. */
static void check_without_random_bytes(void)
{
	uint32_t status = UC_ST_OK;

	go_to(UC_STATE_SPILLING);
	CHECK_EQUAL(help_command(&device, UC_CMD_INFER, 0, 0, NULL, 0),
		    UC_ST_BAD_STATE);
	CONTEXT("no random bytes for the key of a spill");
	CHECK_EQUAL(help_command(&device, UC_CMD_INFER, 0, 0, NULL, 0),
		    UC_ST_OK);
	help_random_fails = true;
	status = help_inputs(&device, &bands, 3);
	if (status == UC_ST_OK)
		status = help_push_wanted(&device, &bands, 1);
	help_random_fails = false;
	CHECK_EQUAL(status, UC_ST_INTERNAL);
	CHECK_EQUAL(help_state(&device), UC_STATE_READY);
	go_to(UC_STATE_SPILLING);
}

/* ---- what the checker refuses ---- */

static enum uc_status check_program(void)
{
	struct uc_program_limits limits = {
		.page_bytes = HELP_PAGE_BYTES,
		.program_pages = bands.program_pages,
		.resident_pages = bands.resident_pages,
		.streamed_pages = bands.streamed_pages,
		.arena_bytes = bands.program.arena_bytes,
	};
	struct uc_program program = {0};
	uint32_t detail = 0;

	help_encode(&bands);
	return uc_program_check(&program, bands.plain,
				(size_t)bands.program_pages * HELP_PAGE_BYTES,
				&limits, &detail);
}

#define REFUSE(what, place, value)                                             \
	do {                                                                   \
		__typeof__(place) kept = (place);                              \
		CONTEXT("%s", what);                                           \
		(place) = (__typeof__(place))(value);                          \
		CHECK_EQUAL(check_program(), UC_ST_BAD_PROGRAM);               \
		(place) = kept;                                                \
		CHECK_EQUAL(check_program(), UC_ST_OK);                        \
	} while (0)

static uint16_t find_op(uint16_t code, uint16_t from)
{
	uint16_t i = from;

	while (bands.ops[i].code != code)
		i++;
	return i;
}

static void check_refusals(void)
{
	/* x and its views are the first five tensors. */
	struct uc_tensor *t = bands.tensors;
	uint16_t conv = find_op(UC_OP_CONV_2D, 0);
	uint16_t second = find_op(UC_OP_CONV_2D, (uint16_t)(conv + 3));
	uint16_t copy = find_op(UC_OP_CLAMP, 0);
	uint16_t spill = find_op(UC_OP_SPILL, 0);
	uint16_t sum0 = bands.ops[copy - 1].output;
	uint16_t wide0_tail = bands.ops[copy].input_a;

	CHECK_EQUAL(check_program(), UC_ST_OK);
	REFUSE("a root with an origin", t[0].origin[1], 1);
	REFUSE("a root that is a view of itself", t[0].parent, 0);
	REFUSE("a view of a later tensor", t[1].parent, 6);
	REFUSE("a view of a view", t[2].parent, 1);
	REFUSE("a view of no tensor", t[1].parent, 999);
	REFUSE("a view that is called a root", t[1].parent, UC_NO_TENSOR);
	REFUSE("a view one row too low", t[2].origin[1], 7);
	REFUSE("a view far outside", t[2].origin[3], 0xFFFFFFFFU);
	REFUSE("a view at another offset", t[1].offset, t[1].offset + 4);
	REFUSE("a view as an input", bands.inputs[0], 1);
	REFUSE("a read view that is said to be written", t[1].first_op, 0);
	REFUSE("a view that lives too long", t[1].last_op, t[0].last_op);
	REFUSE("a view that dies too early", t[1].last_op, 0);
	REFUSE("a root that dies before its view", t[0].last_op, conv);
	REFUSE("a written view without an operator", t[sum0].first_op,
	       UC_NO_OP);
	REFUSE("a root born after its view", t[sum0 - 1].first_op,
	       bands.ops[spill].code == 0 ? 0 : t[sum0 + 1].first_op);
	REFUSE("rows that nobody wrote", bands.ops[spill - 1].output, sum0);
	REFUSE("a copy to where something is", bands.ops[copy].output,
	       bands.ops[copy + 1].output);
	REFUSE("a tail that is read before it is there",
	       bands.ops[conv].input_a, wide0_tail);
	REFUSE("weights in a tensor that is not there", bands.ops[conv].weights,
	       999);
	REFUSE("weights in a tensor of another size", bands.ops[conv].weights,
	       bands.ops[conv + 1].weights);
	REFUSE("weights in a view", bands.ops[conv].weights, 1);
	REFUSE("weights that are streamed but held", bands.ops[conv].weights,
	       UC_NO_TENSOR);
	REFUSE("held weights with a step", bands.ops[conv].step_panels, 1);
	REFUSE("held and resident weights", bands.ops[conv].resident_panels, 1);
	REFUSE("held weights of another scheme", bands.ops[conv].scheme,
	       UC_SCHEME_LAYER);
	REFUSE("held weights that have died",
	       t[bands.ops[conv].weights].last_op, conv);
	REFUSE("a copy with weights", bands.ops[copy].weights,
	       bands.ops[conv].weights);
	REFUSE("a slot with a hole before it", bands.ops[spill].spill_page, 1);
	REFUSE("a slot that is not there", bands.ops[spill + 1].spill_page, 1);
	REFUSE("more spilled pages than said", bands.program.spill_pages, 0);
	REFUSE("a spill that writes", bands.ops[spill].output, 1);
	REFUSE("a fill that reads", bands.ops[spill + 1].input_a, 0);
	REFUSE("a fill of another size", bands.ops[spill + 1].output, 5);
	REFUSE("a spilled view with gaps", bands.ops[spill].input_a, 999);
	REFUSE("an operator with a spill page", bands.ops[second].spill_page,
	       1);
	REFUSE("too little scratch to spill", bands.program.scratch_bytes,
	       HELP_PAGE_BYTES - 64);
}

int main(void)
{
	make_whole();
	make_bands();
	check_answer();
	check_secrecy();
	check_order();
	check_without_random_bytes();
	help_device_free(&device);
	check_refusals();
	help_free(&whole);
	help_free(&bands);
	return 0;
}
