/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sealed inputs and outputs: right ones give the answer that plain ones give,
 * wrong ones end the inference and leave nothing behind (spec/private-io.md).
 */
#include <string.h>

#include "bytes.h"
#include "help_check.h"
#include "help_question.h"

#define BOTH (UC_FEATURE_SEALED_INPUT | UC_FEATURE_SEALED_OUTPUT)
#define SEED 7U
#define PAGE_ELEMENTS (UC_PRIVATE_PAGE_BYTES / 4)

static struct help_model model;
static struct help_device device;
static float *expected; /* all outputs, of a plain inference */
static size_t output_elements;

/* Two inputs of more than two pages and of one, two outputs likewise. */
static void make_model(void)
{
	uint16_t image = 0;
	uint16_t colour = 0;
	uint16_t sum = 0;
	uint16_t mean = 0;

	help_init(&model);
	image = help_tensor(&model, 1, 67, 61, 3);
	colour = help_tensor(&model, 1, 1, 1, 3);
	sum = help_tensor(&model, 1, 67, 61, 3);
	mean = help_tensor(&model, 1, 1, 1, 3);
	help_input(&model, image, UC_WIRE_NCHW);
	help_input(&model, colour, UC_WIRE_AS_STORED);
	(void)help_op(&model, UC_OP_ADD, image, colour, sum);
	(void)help_op(&model, UC_OP_GLOBAL_AVERAGE_POOL, sum, UC_NO_TENSOR,
		      mean);
	help_output(&model, sum, UC_WIRE_NCHW);
	help_output(&model, mean, UC_WIRE_AS_STORED);
	help_plan(&model);
	help_fill(&model, 3);
	help_seal(&model);
}

static void load(void)
{
	CHECK_EQUAL(help_command(&device, UC_CMD_CLOSE, 0, 0, NULL, 0),
		    UC_ST_OK);
	CHECK_EQUAL(help_open(&device, &model), UC_ST_OK);
	CHECK_EQUAL(help_push_wanted(&device, &model, 9), UC_ST_OK);
	CHECK_EQUAL(help_state(&device), UC_STATE_READY);
}

static bool knows_keys(void)
{
	const struct uc_private_io *io = &device.session.private_io;

	return !uc_is_zero((const uint8_t *)io, sizeof(*io));
}

static bool staging_is_zero(void)
{
	return uc_is_zero(device.pool.staging, sizeof(device.pool.staging));
}

/* A failure ended the inference and left no key and no plaintext. */
static void check_ended(void)
{
	CHECK_EQUAL(help_state(&device), UC_STATE_READY);
	CHECK(!knows_keys());
	CHECK(staging_is_zero());
}

static const struct uc_tensor *output(uint32_t index)
{
	return &model.tensors[model.outputs[index]];
}

/* OUTPUT in one piece, opened and held against what is expected. */
static void check_output(const struct help_question *question, uint32_t index,
			 const float *wanted)
{
	bool is_sealed =
		(question->keys.sealed & UC_FEATURE_SEALED_OUTPUT) != 0;
	size_t plain_len = 4 * (size_t)help_elements(output(index));
	size_t len = is_sealed ? help_sealed_len(output(index)) : plain_len;
	uint8_t *answer = malloc(len);
	uint8_t *opened = malloc(len);

	CHECK(answer && opened);
	CHECK_EQUAL(help_command(&device, UC_CMD_OUTPUT, index, 0, answer, len),
		    UC_ST_OK);
	CHECK_EQUAL(device.params[1].ns_len, len);
	if (is_sealed)
		CHECK(help_open_output(&model, question, index, 0, answer, len,
				       (float *)(void *)opened));
	else
		memcpy(opened, answer, len);
	CHECK(memcmp(opened, wanted, plain_len) == 0);
	CHECK(staging_is_zero());
	free(answer);
	free(opened);
}

static void run(struct help_question *question, uint32_t sealed)
{
	help_question(&device, sealed, question);
	CHECK_EQUAL(help_ask(&device, question), UC_ST_OK);
	CHECK_EQUAL(help_state(&device), UC_STATE_INPUT);
	CHECK_EQUAL(help_question_inputs(&device, &model, question, SEED),
		    UC_ST_OK);
	CHECK(staging_is_zero());
	CHECK_EQUAL(help_push_wanted(&device, &model, 4), UC_ST_OK);
	CHECK_EQUAL(help_state(&device), UC_STATE_DONE);
}

static void check_right_answers(void)
{
	for (uint32_t sealed = 1; sealed <= BOTH; sealed++) {
		struct help_question question = {0};

		CONTEXT("a good question, flags %u", sealed);
		load();
		run(&question, sealed);
		check_output(&question, 0, expected);
		check_output(&question, 1, expected + help_elements(output(0)));
		CHECK(knows_keys());
	}
}

/* A page at a time, in any order, and again. */
static void check_pages_of_an_output(void)
{
	size_t len = help_sealed_len(output(0));
	uint8_t *all = malloc(len);
	struct help_question question = {0};
	uint32_t pages = (uint32_t)uc_units(len, HELP_PRIVATE_SLOT_BYTES);

	CONTEXT("an output page by page");
	CHECK(all && pages == 3);
	load();
	run(&question, BOTH);
	CHECK_EQUAL(help_command(&device, UC_CMD_OUTPUT, 0, 0, all, len),
		    UC_ST_OK);
	for (uint32_t i = 0; i < pages; i++) {
		static uint8_t one[HELP_PRIVATE_SLOT_BYTES];
		uint32_t page = pages - 1 - i;
		size_t at = page * HELP_PRIVATE_SLOT_BYTES;
		size_t size = len - at < sizeof(one) ? len - at : sizeof(one);

		CHECK_EQUAL(help_command(&device, UC_CMD_OUTPUT, 0,
					 page * PAGE_ELEMENTS, one, size),
			    UC_ST_OK);
		CHECK(memcmp(one, all + at, size) == 0);
	}
	free(all);
}

static void check_fresh_answers(void)
{
	static uint8_t answers[2][256];
	size_t len = help_sealed_len(output(1));
	struct help_question question = {0};
	uint8_t nonce[UC_ANSWER_NONCE_BYTES] = {0};

	CONTEXT("one question asked twice");
	CHECK(len <= sizeof(answers[0]));
	load();
	run(&question, BOTH);
	CHECK_EQUAL(help_command(&device, UC_CMD_OUTPUT, 1, 0, answers[0], len),
		    UC_ST_OK);
	memcpy(nonce, question.answer_nonce, sizeof(nonce));
	run(&question, BOTH);
	CHECK_EQUAL(help_command(&device, UC_CMD_OUTPUT, 1, 0, answers[1], len),
		    UC_ST_OK);
	CHECK(memcmp(nonce, question.answer_nonce, sizeof(nonce)) != 0);
	CHECK(memcmp(answers[0], answers[1], len) != 0);
}

/* ---- ASK ---- */

static void check_bad_openings(void)
{
	struct help_question good = {0};

	for (size_t i = 0; i < UC_QUESTION_BYTES; i++) {
		struct help_question bad = {0};
		uint32_t status = UC_ST_OK;

		CONTEXT("byte %zu of an opening", i);
		if (i == 0)
			load();
		help_question(&device, BOTH, &bad);
		bad.opening[i] ^= 1;
		status = help_ask(&device, &bad);
		/* Byte 0 becomes other flags that are known. */
		CHECK(status == (i > 0 && i < 4 ? UC_ST_BAD_QUESTION
						: UC_ST_NOT_AUTHENTIC));
		check_ended();
	}
	CONTEXT("openings of other lengths");
	help_question(&device, BOTH, &good);
	for (size_t len = 0; len <= UC_QUESTION_BYTES + 1; len++) {
		uint8_t bytes[UC_QUESTION_BYTES + 1] = {0};

		if (len == UC_QUESTION_BYTES)
			continue;
		memcpy(bytes, good.opening, UC_QUESTION_BYTES);
		CHECK_EQUAL(help_command(&device, UC_CMD_ASK, 0, 0, bytes, len),
			    UC_ST_BAD_QUESTION);
		check_ended();
	}
	CHECK_EQUAL(help_command(&device, UC_CMD_ASK, 0, 0, NULL, 52),
		    UC_ST_BAD_QUESTION);

	CONTEXT("no room for the nonce");
	CHECK_EQUAL(help_command(&device, UC_CMD_ASK, 0, 0, good.opening,
				 UC_QUESTION_BYTES),
		    UC_ST_SHORT_BUFFER);
	CHECK_EQUAL(device.params[0].b, UC_ANSWER_NONCE_BYTES);
	check_ended();

	CONTEXT("a question to a model of another header");
	device.session.header_digest[0] ^= 1;
	CHECK_EQUAL(help_ask(&device, &good), UC_ST_NOT_AUTHENTIC);
	device.session.header_digest[0] ^= 1;
	CHECK_EQUAL(help_ask(&device, &good), UC_ST_OK);
}

static void check_states(void)
{
	struct help_question question = {0};

	CONTEXT("ASK in EMPTY, LOADING, INPUT, DONE");
	load();
	help_question(&device, BOTH, &question);
	CHECK_EQUAL(help_command(&device, UC_CMD_CLOSE, 0, 0, NULL, 0),
		    UC_ST_OK);
	CHECK_EQUAL(help_ask(&device, &question), UC_ST_BAD_STATE);
	CHECK_EQUAL(help_state(&device), UC_STATE_EMPTY);
	CHECK_EQUAL(help_open(&device, &model), UC_ST_OK);
	CHECK_EQUAL(help_ask(&device, &question), UC_ST_BAD_STATE);
	CHECK_EQUAL(help_state(&device), UC_STATE_EMPTY);
	CHECK(help_all_bytes(&device, 0, model.program.arena_bytes, 0));
	load();
	CHECK_EQUAL(help_ask(&device, &question), UC_ST_OK);
	CHECK_EQUAL(help_ask(&device, &question), UC_ST_BAD_STATE);
	check_ended();
	run(&question, BOTH);
	question.opening[51] ^= 1;
	CHECK_EQUAL(help_ask(&device, &question), UC_ST_NOT_AUTHENTIC);
	check_ended();

	CONTEXT("a plain inference after a sealed one");
	run(&question, BOTH);
	CHECK_EQUAL(help_command(&device, UC_CMD_INFER, 0, 0, NULL, 0),
		    UC_ST_OK);
	CHECK(!knows_keys());
	CHECK_EQUAL(help_inputs(&device, &model, SEED), UC_ST_OK);
	CHECK_EQUAL(help_push_wanted(&device, &model, 4), UC_ST_OK);
	check_output(&(struct help_question){0}, 1,
		     expected + help_elements(output(0)));

	CONTEXT("closed after a sealed inference");
	run(&question, BOTH);
	CHECK_EQUAL(help_command(&device, UC_CMD_CLOSE, 0, 0, NULL, 0),
		    UC_ST_OK);
	CHECK(!knows_keys());
	CHECK(uc_is_zero(device.session.header_digest, 32));
}

static void check_license(void)
{
	struct help_question question = {0};

	for (uint32_t asked = 0; asked <= BOTH; asked++) {
		CONTEXT("a license that asks for flags %u", asked);
		device.terms.features = asked;
		load();
		CHECK_EQUAL(help_command(&device, UC_CMD_INFER, 0, 0, NULL, 0),
			    asked == 0 ? UC_ST_OK : UC_ST_SEALED_IO_NEEDED);
		CHECK_EQUAL(device.params[0].b, asked);
		for (uint32_t sealed = 1; sealed <= BOTH; sealed++) {
			uint32_t missing = asked & ~sealed;

			load();
			help_question(&device, sealed, &question);
			CHECK_EQUAL(help_ask(&device, &question),
				    missing == 0 ? UC_ST_OK
						 : UC_ST_SEALED_IO_NEEDED);
			CHECK_EQUAL(device.params[0].b, missing);
			CHECK_EQUAL(help_state(&device),
				    missing == 0 ? UC_STATE_INPUT
						 : UC_STATE_READY);
			CHECK_EQUAL(knows_keys(), missing == 0);
		}
	}

	CONTEXT("what the license refuses ends nothing");
	device.terms.features = UC_FEATURE_SEALED_OUTPUT;
	load();
	run(&question, BOTH);
	CHECK_EQUAL(help_command(&device, UC_CMD_INFER, 0, 0, NULL, 0),
		    UC_ST_SEALED_IO_NEEDED);
	CHECK_EQUAL(help_state(&device), UC_STATE_DONE);
	check_output(&question, 0, expected);
	device.terms.features = 0;
}

/* ---- INPUT and OUTPUT ---- */

/* One INPUT of a fresh question, with sealed bytes that are changed before. */
static uint32_t input(uint32_t index, uint32_t first, size_t skip, size_t len,
		      size_t changed)
{
	struct help_question question = {0};
	uint8_t *sealed = NULL;
	uint32_t status = UC_ST_OK;

	load();
	help_question(&device, BOTH, &question);
	CHECK_EQUAL(help_ask(&device, &question), UC_ST_OK);
	sealed = help_seal_input(&model, &question, 0, SEED);
	if (changed != SIZE_MAX)
		sealed[changed] ^= 1;
	status = help_command(&device, UC_CMD_INPUT, index, first,
			      sealed + skip, len);
	free(sealed);
	return status;
}

static void refused(uint32_t status, uint32_t wanted)
{
	CHECK_EQUAL(status, wanted);
	check_ended();
}

static void check_bad_inputs(void)
{
	const size_t none = SIZE_MAX;
	size_t slot = HELP_PRIVATE_SLOT_BYTES;
	size_t len = help_sealed_len(&model.tensors[model.inputs[0]]);

	CONTEXT("lengths of a sealed input");
	CHECK_EQUAL(input(0, 0, 0, len, none), UC_ST_OK);
	CHECK_EQUAL(help_state(&device), UC_STATE_INPUT);
	CHECK_EQUAL(input(0, 0, 0, slot, none), UC_ST_OK);
	CHECK_EQUAL(input(0, 0, 0, 2 * slot, none), UC_ST_OK);
	for (size_t wrong = 0; wrong < 3 * slot; wrong += slot / 7 + 1)
		refused(input(0, 0, 0, wrong, none), UC_ST_BAD_PARAMETERS);
	refused(input(0, 0, 0, slot - 1, none), UC_ST_BAD_PARAMETERS);
	refused(input(0, 0, 0, slot + 1, none), UC_ST_BAD_PARAMETERS);
	refused(input(0, 0, 0, slot - 16, none), UC_ST_BAD_PARAMETERS);
	refused(input(0, 0, 0, len - 1, none), UC_ST_BAD_PARAMETERS);
	refused(input(0, 0, 0, len - 16, none), UC_ST_BAD_PARAMETERS);

	CONTEXT("places of a sealed input");
	refused(input(2, 0, 0, slot, none), UC_ST_BAD_PARAMETERS);
	refused(input(UINT32_MAX, 0, 0, slot, none), UC_ST_BAD_PARAMETERS);
	refused(input(0, 1, 0, slot, none), UC_ST_BAD_PARAMETERS);
	refused(input(0, 3 * PAGE_ELEMENTS, 0, slot, none),
		UC_ST_BAD_PARAMETERS);
	refused(input(0, UINT32_MAX, 0, slot, none), UC_ST_BAD_PARAMETERS);
	/* The right page for its place, before its turn. */
	refused(input(0, PAGE_ELEMENTS, slot, slot, none),
		UC_ST_BAD_PARAMETERS);
	refused(input(0, 0, slot, slot, none), UC_ST_NOT_AUTHENTIC);
	/* A page of input 0 that is as long as input 1. */
	refused(input(1, 0, 0, 32, none), UC_ST_NOT_AUTHENTIC);

	CONTEXT("bytes of a sealed input");
	for (size_t i = 0; i < len; i += i % slot == 0 ? slot - 1 : 1)
		refused(input(0, 0, 0, len, i), UC_ST_NOT_AUTHENTIC);
	refused(input(0, 0, 0, len, len - 17), UC_ST_NOT_AUTHENTIC);
	refused(input(0, 0, 0, len, len - 1), UC_ST_NOT_AUTHENTIC);
}

static void check_directions(void)
{
	struct help_question question = {0};
	struct uc_port_aead aead = {0};
	uint8_t nonce[UC_PAGE_NONCE_BYTES] = {3}; /* behind those of input 0 */
	uint8_t page[32] = {0};

	CONTEXT("an input below the key of the answer");
	load();
	help_question(&device, BOTH, &question);
	CHECK_EQUAL(help_ask(&device, &question), UC_ST_OK);
	CHECK(uc_port_aead_init(&aead, UC_SUITE_AES_256_GCM,
				question.keys.answer_key) &&
	      uc_port_aead_seal(&aead, nonce, page, 16, page + 16));
	refused(help_command(&device, UC_CMD_INPUT, 1, 0, page, 32),
		UC_ST_NOT_AUTHENTIC);

	CONTEXT("padding that is not zero");
	CHECK_EQUAL(help_ask(&device, &question), UC_ST_OK);
	memset(page, 0, sizeof(page));
	page[15] = 1;
	CHECK(uc_port_aead_init(&aead, UC_SUITE_AES_256_GCM,
				question.keys.question_key) &&
	      uc_port_aead_seal(&aead, nonce, page, 16, page + 16));
	refused(help_command(&device, UC_CMD_INPUT, 1, 0, page, 32),
		UC_ST_BAD_QUESTION);

	CONTEXT("plain inputs where sealed ones are due");
	CHECK_EQUAL(help_ask(&device, &question), UC_ST_OK);
	refused(help_inputs(&device, &model, SEED), UC_ST_BAD_PARAMETERS);
}

static void check_bad_outputs(void)
{
	static const struct {
		uint32_t index, first;
		size_t len;
	} wrong[] = {
		{0, 0, 0},
		{0, 0, 1},
		{0, 0, HELP_PRIVATE_SLOT_BYTES - 1},
		{0, 0, HELP_PRIVATE_SLOT_BYTES + 1},
		{0, 0, UC_PRIVATE_PAGE_BYTES},
		{0, 1, HELP_PRIVATE_SLOT_BYTES},
		{0, 2 * PAGE_ELEMENTS, HELP_PRIVATE_SLOT_BYTES},
		{0, 3 * PAGE_ELEMENTS, HELP_PRIVATE_SLOT_BYTES},
		{0, UINT32_MAX, HELP_PRIVATE_SLOT_BYTES},
		{1, 0, 12},
		{1, 0, 48},
		{2, 0, 32},
		{UINT32_MAX, 0, 32},
	};
	static uint8_t answer[2 * HELP_PRIVATE_SLOT_BYTES];

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct help_question question = {0};

		CONTEXT("output %zu", i);
		load();
		run(&question, BOTH);
		memset(answer, 0x55, sizeof(answer));
		refused(help_command(&device, UC_CMD_OUTPUT, wrong[i].index,
				     wrong[i].first, answer, wrong[i].len),
			UC_ST_BAD_PARAMETERS);
		CHECK(uc_is_zero(answer, wrong[i].len));
	}
}

int main(void)
{
	make_model();
	help_device_init(&device, model.program.arena_bytes);
	output_elements = help_output_elements(&model);
	expected = calloc(output_elements, 4);
	CHECK(expected);
	load();
	help_infer(&device, &model, SEED, 3, expected);
	check_right_answers();
	check_pages_of_an_output();
	check_fresh_answers();
	check_bad_openings();
	check_states();
	check_license();
	check_bad_inputs();
	check_directions();
	check_bad_outputs();
	free(expected);
	help_device_free(&device);
	help_free(&model);
	return 0;
}
