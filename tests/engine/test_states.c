/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every command in every state, by a table that repeats the one in
 * spec/ta-abi.md; then the ways in which parameters can be wrong.
 */
#include <string.h>

#include "help_check.h"
#include "help_model.h"

#define STATES 6U
#define COMMANDS 11U

static const char *const state_names[STATES] = {
	"EMPTY", "LOADING", "READY", "INPUT", "RUNNING", "DONE",
};

/* What a command answers in a state, and the state that follows. */
struct answer {
	uint32_t status;
	uint32_t next;
};

#define OK(next) {UC_ST_OK, UC_STATE_##next}
#define ORDER(next) {UC_ST_BAD_STATE, UC_STATE_##next}

static const struct answer answers[COMMANDS][STATES] = {
	/* EMPTY, LOADING, READY, INPUT, RUNNING, DONE */
	[UC_CMD_INFO] = {OK(EMPTY), OK(LOADING), OK(READY), OK(INPUT),
			 OK(RUNNING), OK(DONE)},
	[UC_CMD_DEVICE_KEY] = {OK(EMPTY), OK(LOADING), OK(READY), OK(INPUT),
			       OK(RUNNING), OK(DONE)},
	[UC_CMD_OPEN] = {OK(LOADING), ORDER(EMPTY), ORDER(READY), ORDER(READY),
			 ORDER(READY), ORDER(READY)},
	[UC_CMD_PUSH] = {ORDER(EMPTY), OK(LOADING), ORDER(READY), ORDER(READY),
			 OK(RUNNING), ORDER(READY)},
	[UC_CMD_INFER] = {ORDER(EMPTY), ORDER(EMPTY), OK(INPUT), ORDER(READY),
			  ORDER(READY), OK(INPUT)},
	[UC_CMD_INPUT] = {ORDER(EMPTY), ORDER(EMPTY), ORDER(READY), OK(INPUT),
			  ORDER(READY), ORDER(READY)},
	[UC_CMD_OUTPUT] = {ORDER(EMPTY), ORDER(EMPTY), ORDER(READY),
			   ORDER(READY), ORDER(READY), OK(DONE)},
	[UC_CMD_STATS] = {ORDER(EMPTY), OK(LOADING), OK(READY), OK(INPUT),
			  OK(RUNNING), OK(DONE)},
	[UC_CMD_CLOSE] = {OK(EMPTY), OK(EMPTY), OK(EMPTY), OK(EMPTY), OK(EMPTY),
			  OK(EMPTY)},
	/* Their own states are test_views.c's. */
	[UC_CMD_SPILL] = {ORDER(EMPTY), ORDER(EMPTY), ORDER(READY),
			  ORDER(READY), ORDER(READY), ORDER(READY)},
	[UC_CMD_FILL] = {ORDER(EMPTY), ORDER(EMPTY), ORDER(READY), ORDER(READY),
			 ORDER(READY), ORDER(READY)},
};

static struct help_model model;
static struct help_device device;

static void go_to(uint32_t state)
{
	CHECK_EQUAL(help_command(&device, UC_CMD_CLOSE, 0, 0, NULL, 0),
		    UC_ST_OK);
	if (state >= UC_STATE_LOADING)
		CHECK_EQUAL(help_open(&device, &model), UC_ST_OK);
	if (state >= UC_STATE_READY)
		CHECK_EQUAL(help_push_wanted(&device, &model, 1), UC_ST_OK);
	if (state >= UC_STATE_INPUT)
		CHECK_EQUAL(help_command(&device, UC_CMD_INFER, 0, 0, NULL, 0),
			    UC_ST_OK);
	if (state >= UC_STATE_RUNNING)
		CHECK_EQUAL(help_inputs(&device, &model, 1), UC_ST_OK);
	if (state >= UC_STATE_DONE)
		CHECK_EQUAL(help_push_wanted(&device, &model, 1), UC_ST_OK);
	CHECK_EQUAL(help_state(&device), state);
}

static uint32_t next_page(void)
{
	struct uc_want want = {0};

	if (device.session.engine)
		uc_engine_want(device.session.engine, &want);
	return want.first;
}

/* A command with parameters that are right in the state it belongs to. */
static uint32_t right_command(uint32_t command)
{
	uint8_t record[256] = {0};
	float element = 0.5f;

	switch (command) {
	case UC_CMD_OPEN:
		return help_open(&device, &model);
	case UC_CMD_PUSH:
		return help_push(&device, &model, next_page(), 1);
	case UC_CMD_INPUT:
	case UC_CMD_OUTPUT:
		return help_command(&device, command, 0, 0, &element, 4);
	default:
		return help_command(&device, command, 0, 0, record,
				    sizeof(record));
	}
}

static void check_table(void)
{
	for (uint32_t state = 0; state < STATES; state++) {
		for (uint32_t command = 0; command < COMMANDS; command++) {
			const struct answer *answer = &answers[command][state];

			CONTEXT("command %u in %s", command,
				state_names[state]);
			go_to(state);
			CHECK_EQUAL(right_command(command), answer->status);
			CHECK_EQUAL(help_state(&device), answer->next);
			if (answer->next == UC_STATE_EMPTY &&
			    state != UC_STATE_EMPTY)
				CHECK(help_all_bytes(&device, 0,
						     model.program.arena_bytes,
						     0));
		}
	}
}

/* PUSH and INPUT tell where things stand; OPEN what it wants. */
static void check_answers(void)
{
	uint32_t streamed = help_load_pages(&model);

	CONTEXT("what PUSH, INPUT and OPEN answer");
	go_to(UC_STATE_EMPTY);
	CHECK_EQUAL(help_open(&device, &model), UC_ST_OK);
	CHECK_EQUAL(device.params[3].a, 0);
	CHECK_EQUAL(device.params[3].b, model.program_pages);
	CHECK_EQUAL(help_push(&device, &model, 0, model.program_pages),
		    UC_ST_OK);
	CHECK_EQUAL(device.params[2].a, model.program_pages);
	CHECK_EQUAL(device.params[2].b, model.resident_pages);
	CHECK_EQUAL(device.params[3].a, UC_STATE_LOADING);
	CHECK_EQUAL(help_push(&device, &model, model.program_pages,
			      model.resident_pages),
		    UC_ST_OK);
	CHECK_EQUAL(device.params[2].b, 0);
	CHECK_EQUAL(device.params[3].a, UC_STATE_READY);
	CHECK_EQUAL(device.params[3].b, 0);
	CHECK_EQUAL(help_command(&device, UC_CMD_INFER, 0, 0, NULL, 0),
		    UC_ST_OK);
	CHECK_EQUAL(help_inputs(&device, &model, 1), UC_ST_OK);
	CHECK_EQUAL(device.params[2].a, streamed);
	CHECK_EQUAL(device.params[2].b, model.streamed_pages);
	CHECK_EQUAL(device.params[3].a, UC_STATE_RUNNING);
	CHECK_EQUAL(help_push(&device, &model, streamed, model.streamed_pages),
		    UC_ST_OK);
	CHECK_EQUAL(device.params[2].b, 0);
	CHECK_EQUAL(device.params[3].a, UC_STATE_DONE);
}

/* Pages that are not the ones wanted next. */
static void check_page_order(void)
{
	static const uint32_t states[] = {UC_STATE_LOADING, UC_STATE_RUNNING};

	for (uint32_t i = 0; i < 2; i++) {
		uint32_t after = i == 0 ? UC_STATE_EMPTY : UC_STATE_READY;
		struct uc_want want = {0};
		const uint8_t *page = NULL;
		size_t len = help_sealed_page_bytes(&model);

		CONTEXT("page order in %s", state_names[states[i]]);
		go_to(states[i]);
		uc_engine_want(device.session.engine, &want);
		CHECK(want.count >= 1);
		CHECK_EQUAL(help_push(&device, &model, want.first + 1, 1),
			    UC_ST_BAD_PAGE_INDEX);
		CHECK_EQUAL(help_state(&device), after);
		CHECK_EQUAL(device.params[2].b, 0);
		CHECK_EQUAL(device.params[3].a, 0);

		page = help_page(&model, want.first);
		go_to(states[i]);
		CHECK_EQUAL(help_command(&device, UC_CMD_PUSH, want.first, 0,
					 page, len),
			    UC_ST_BAD_PAGE_INDEX);
		go_to(states[i]);
		CHECK_EQUAL(help_command(&device, UC_CMD_PUSH, want.first,
					 want.count + 1, page,
					 (want.count + 1) * len),
			    UC_ST_BAD_PAGE_INDEX);
		go_to(states[i]);
		CHECK_EQUAL(help_command(&device, UC_CMD_PUSH, want.first,
					 0xFFFFFFFFU, page, len),
			    UC_ST_BAD_PAGE_INDEX);
		/* The right number with another page's bytes. */
		go_to(states[i]);
		CHECK_EQUAL(help_command(&device, UC_CMD_PUSH, want.first, 1,
					 page + len, len),
			    UC_ST_NOT_AUTHENTIC);
		CHECK_EQUAL(help_state(&device), after);
		for (size_t wrong = 0; wrong < 3; wrong++) {
			size_t lens[3] = {0, len - 1, len + 1};

			go_to(states[i]);
			CHECK_EQUAL(help_command(&device, UC_CMD_PUSH,
						 want.first, 1, page,
						 lens[wrong]),
				    UC_ST_BAD_PARAMETERS);
			CHECK_EQUAL(help_state(&device), after);
		}
		go_to(states[i]);
		CHECK_EQUAL(help_command(&device, UC_CMD_PUSH, want.first, 1,
					 NULL, len),
			    UC_ST_BAD_PARAMETERS);
	}
}

/* A page once taken is not wanted again. */
static void check_repetition(void)
{
	uint32_t first = help_load_pages(&model);

	CONTEXT("a page twice");
	go_to(UC_STATE_RUNNING);
	CHECK_EQUAL(help_push(&device, &model, first, 1), UC_ST_OK);
	CHECK_EQUAL(help_push(&device, &model, first, 1), UC_ST_BAD_PAGE_INDEX);
	CHECK_EQUAL(help_state(&device), UC_STATE_READY);
}

static void wrong_input(uint32_t index, uint32_t first, const void *data,
			size_t len)
{
	go_to(UC_STATE_INPUT);
	CHECK_EQUAL(
		help_command(&device, UC_CMD_INPUT, index, first, data, len),
		UC_ST_BAD_PARAMETERS);
	CHECK_EQUAL(help_state(&device), UC_STATE_READY);
}

static void wrong_output(uint32_t index, uint32_t first, void *data, size_t len)
{
	go_to(UC_STATE_DONE);
	if (data)
		memset(data, 0x77, len);
	CHECK_EQUAL(
		help_command(&device, UC_CMD_OUTPUT, index, first, data, len),
		UC_ST_BAD_PARAMETERS);
	CHECK_EQUAL(help_state(&device), UC_STATE_READY);
	CHECK_EQUAL(device.params[1].ns_len, 0);
	for (size_t i = 0; data && i < len; i++)
		CHECK(((uint8_t *)data)[i] == 0);
}

static void check_ranges(void)
{
	const struct uc_tensor *in = &model.tensors[model.inputs[0]];
	const struct uc_tensor *out = &model.tensors[model.outputs[0]];
	size_t room = 2 * (in->bytes + out->bytes);
	uint8_t *data = calloc(1, room);

	CHECK(data);
	CONTEXT("wrong ranges of inputs");
	wrong_input(1, 0, data, 4);
	wrong_input(0xFFFFFFFFU, 0, data, 4);
	wrong_input(0, 1, data, 4);
	wrong_input(0, 0xFFFFFFFFU, data, 4);
	wrong_input(0, 0, data, 0);
	wrong_input(0, 0, data, 5);
	wrong_input(0, 0, data, in->bytes + 4);
	wrong_input(0, 0, NULL, 4);
	go_to(UC_STATE_INPUT);
	CHECK_EQUAL(help_command(&device, UC_CMD_INPUT, 0, 0, data, 8),
		    UC_ST_OK);
	CHECK_EQUAL(help_command(&device, UC_CMD_INPUT, 0, 0, data, 8),
		    UC_ST_BAD_PARAMETERS);
	CONTEXT("wrong ranges of outputs");
	wrong_output(2, 0, data, 4);
	wrong_output(0, (uint32_t)(out->bytes / 4), data, 4);
	wrong_output(0, 0xFFFFFFFFU, data, 4);
	wrong_output(0, 0, data, 0);
	wrong_output(0, 0, data, 6);
	wrong_output(0, 0, data, out->bytes + 4);
	wrong_output(0, 4, data, out->bytes);
	wrong_output(0, 0, NULL, 4);
	free(data);
}

/* Types are compared before anything else; nothing happens. */
static void check_types(void)
{
	for (uint32_t command = 0; command < COMMANDS; command++) {
		for (uint32_t i = 0; i < 4; i++) {
			struct uc_param params[4] = {0};
			uint8_t data[64] = {0};

			CONTEXT("command %u, parameter %u of wrong type",
				command, i);
			go_to(UC_STATE_INPUT);
			for (uint32_t j = 0; j < 4; j++) {
				params[j].type = uc_service_types(command)[j];
				params[j].ns_data = data;
				params[j].ns_len = sizeof(data);
			}
			params[i].type = (params[i].type + 1) % 5;
			CHECK(!uc_service_command(&device.session, command,
						  params));
			CHECK_EQUAL(help_state(&device), UC_STATE_INPUT);
		}
	}
}

static void check_unknown(void)
{
	struct uc_param params[4] = {0};
	static const uint32_t unknown[] = {COMMANDS, 77, 0xFFFFFFFFU};

	for (uint32_t i = 0; i < 3; i++) {
		CONTEXT("unknown command %u", unknown[i]);
		go_to(UC_STATE_RUNNING);
		CHECK(!uc_service_types(unknown[i]));
		params[0].type = UC_PARAM_NONE;
		CHECK(!uc_service_command(&device.session, unknown[i], params));
		params[0].type = UC_PARAM_VALUE_INOUT;
		CHECK(uc_service_command(&device.session, unknown[i], params));
		CHECK_EQUAL(params[0].a, UC_ST_UNKNOWN_COMMAND);
		CHECK_EQUAL(help_state(&device), UC_STATE_RUNNING);
	}
}

static void check_records(void)
{
	uint8_t record[256] = {0};
	static const uint32_t commands[] = {UC_CMD_INFO, UC_CMD_STATS,
					    UC_CMD_DEVICE_KEY};

	for (uint32_t i = 0; i < 3; i++) {
		uint32_t needed = 0;

		CONTEXT("room for the record of command %u", commands[i]);
		go_to(UC_STATE_RUNNING);
		memset(record, 0x55, sizeof(record));
		CHECK_EQUAL(help_command(&device, commands[i], 0, 0, record, 7),
			    UC_ST_SHORT_BUFFER);
		CHECK(record[6] == 0 && record[7] == 0x55);
		needed = device.params[0].b;
		CHECK(needed > 7 && needed <= 128);
		CHECK_EQUAL(help_command(&device, commands[i], 0, 0, record,
					 needed - 1),
			    UC_ST_SHORT_BUFFER);
		CHECK_EQUAL(help_command(&device, commands[i], 0, 0, record,
					 needed),
			    UC_ST_OK);
		CHECK_EQUAL(device.params[1].ns_len, needed);
		CHECK_EQUAL(help_state(&device), UC_STATE_RUNNING);
	}
	go_to(UC_STATE_LOADING);
	CHECK_EQUAL(help_command(&device, UC_CMD_INFO, 0, 0, record,
				 sizeof(record)),
		    UC_ST_OK);
	CHECK_EQUAL(device.params[1].ns_len, UC_INFO_RECORD_BYTES);
	CHECK(record[0] == UC_ABI_VERSION);
	CHECK(memcmp(record + 32, "undercroft ", 11) == 0);
}

/* Commands since INFER, that one included; STATS and INFO only look. */
static void check_count(void)
{
	struct uc_engine_stats stats = {0};

	CONTEXT("the count of commands");
	go_to(UC_STATE_RUNNING);
	help_stats(&device, &stats);
	help_stats(&device, &stats);
	CHECK_EQUAL(stats.commands, 1 + model.program.input_count);
	CHECK_EQUAL(help_push_wanted(&device, &model, 1), UC_ST_OK);
	help_stats(&device, &stats);
	CHECK_EQUAL(stats.commands,
		    1 + model.program.input_count + model.streamed_pages);
}

/* Headers and licenses of impossible lengths; memory that is not there. */
static void check_open(void)
{
	struct help_device small = {0};
	uint8_t *data = calloc(1, UC_MAX_HEADER_BYTES + 1);
	struct uc_opened_model impossible = {
		.suite = UC_SUITE_AES_256_GCM,
		.page_bytes = UC_MIN_PAGE_BYTES,
		.program_pages = 1,
		.budget_bytes = 4096,
	};

	CHECK(data);
	CONTEXT("opening");
	go_to(UC_STATE_EMPTY);
	CHECK_EQUAL(help_command(&device, UC_CMD_OPEN, 0, 0, data, 0),
		    UC_ST_BAD_HEADER);
	CHECK_EQUAL(help_command(&device, UC_CMD_OPEN, 0, 0, NULL, 9),
		    UC_ST_BAD_HEADER);
	CHECK_EQUAL(help_command(&device, UC_CMD_OPEN, 0, 0, data,
				 UC_MAX_HEADER_BYTES + 1),
		    UC_ST_BAD_HEADER);
	CHECK_EQUAL(help_command(&device, UC_CMD_OPEN, 0, 0, data,
				 UC_MAX_HEADER_BYTES),
		    UC_ST_BAD_HEADER);
	CHECK_EQUAL(help_command(&device, UC_CMD_OPEN, 0, 0, &impossible,
				 sizeof(impossible)),
		    UC_ST_BAD_HEADER);
	impossible.budget_bytes = 1U << 16;
	impossible.suite = 99;
	CHECK_EQUAL(help_command(&device, UC_CMD_OPEN, 0, 0, &impossible,
				 sizeof(impossible)),
		    UC_ST_BAD_HEADER);
	CHECK_EQUAL(help_state(&device), UC_STATE_EMPTY);
	CHECK_EQUAL(uc_pool_free_bytes(&device.pool), device.len);

	help_device_init(&small, model.program.arena_bytes - 64);
	CHECK_EQUAL(help_open(&small, &model), UC_ST_NO_SECURE_MEMORY);
	CHECK_EQUAL(small.params[0].b, small.len / 1024);
	CHECK_EQUAL(small.params[3].b, 0);
	help_device_free(&small);
	free(data);
}

/* An operator that this engine does not have, in a program that verifies. */
static void check_unsupported(void)
{
	uint16_t code = model.ops[0].code;

	CONTEXT("an operator of another version");
	CHECK_EQUAL(help_command(&device, UC_CMD_CLOSE, 0, 0, NULL, 0),
		    UC_ST_OK);
	model.ops[0].code = 250;
	help_encode(&model);
	help_seal(&model);
	CHECK_EQUAL(help_open(&device, &model), UC_ST_OK);
	CHECK_EQUAL(help_push_wanted(&device, &model, 9), UC_ST_UNSUPPORTED_OP);
	CHECK_EQUAL(device.params[0].b, 0);
	CHECK_EQUAL(help_state(&device), UC_STATE_EMPTY);
	CHECK(help_all_bytes(&device, 0, device.len, 0));
	model.ops[0].code = code;
	help_encode(&model);
	help_seal(&model);
}

int main(void)
{
	help_sample(&model, 30, 1, 0);
	CHECK(model.program_pages >= 1 && model.resident_pages >= 2);
	CHECK(model.streamed_pages >= 2);
	help_device_init(&device, model.program.arena_bytes);
	check_table();
	check_answers();
	check_page_order();
	check_repetition();
	check_ranges();
	check_types();
	check_unknown();
	check_records();
	check_count();
	check_unsupported();
	check_open();
	help_device_free(&device);
	help_free(&model);
	return 0;
}
