/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands in any order, right and wrong. Whatever happens, a failure leads
 * where the specification says, EMPTY is wiped, and an inference that reaches
 * its end has the right answer.
 */
#include <string.h>

#include "help_check.h"
#include "help_fuzz.h"
#include "help_question.h"

static struct help_model model;
static struct help_device device;
static float *expected;
static float *outputs;
static struct help_question question; /* the last one asked */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	help_sample(&model, 30, 1, 0);
	help_device_init(&device, model.program.arena_bytes);
	expected = calloc(help_output_elements(&model), 4);
	outputs = calloc(help_output_elements(&model), 4);
	CHECK(expected && outputs);
	CHECK_EQUAL(help_open(&device, &model), UC_ST_OK);
	CHECK_EQUAL(help_push_wanted(&device, &model, 3), UC_ST_OK);
	help_infer(&device, &model, 1, 3, expected);
	return 0;
}

static uint32_t push(struct fuzz_bytes *bytes)
{
	struct uc_want want = {0};
	uint32_t pages = help_load_pages(&model) + model.streamed_pages;
	size_t len = help_sealed_page_bytes(&model);
	uint32_t kind = fuzz_upto(bytes, 15);
	uint32_t count = 0;

	if (device.session.engine)
		uc_engine_want(device.session.engine, &want);
	count = want.count == 0 ? 1 : 1 + fuzz_upto(bytes, want.count - 1);
	if (want.first + count > pages)
		count = pages - want.first;
	if (kind == 0)
		want.first = fuzz_upto(bytes, pages - 1);
	if (kind == 1)
		return help_command(&device, UC_CMD_PUSH, want.first,
				    fuzz_u32(bytes), model.sealed,
				    fuzz_upto(bytes, pages) * len);
	if (kind == 2) {
		/* A page's bytes under another's number. */
		uint32_t other = fuzz_upto(bytes, pages - 1);

		return help_command(&device, UC_CMD_PUSH, want.first, 1,
				    help_page(&model, other), len);
	}
	if (want.first + count > pages)
		count = pages - want.first;
	return help_push(&device, &model, want.first, count);
}

static bool is_sealed(uint32_t feature)
{
	return (device.session.private_io.sealed & feature) != 0;
}

/* A question, at times with another byte. */
static uint32_t ask(struct fuzz_bytes *bytes)
{
	uint32_t status = UC_ST_OK;
	uint32_t flags = fuzz_upto(bytes, 3);
	uint32_t place = fuzz_upto(bytes, 4 * UC_QUESTION_BYTES);
	bool is_changed = place < UC_QUESTION_BYTES;

	help_question(&device, flags, &question);
	if (is_changed)
		question.opening[place] ^= (uint8_t)(1 + fuzz_upto(bytes, 254));
	status = help_ask(&device, &question);
	/* Another bit may be one that X25519 does not look at, never more. */
	if (status == UC_ST_OK)
		CHECK(flags != 0 && (!is_changed || place == 35));
	return status;
}

/* Sealed pages, whole and in order, or not. */
static uint32_t sealed_input(struct fuzz_bytes *bytes)
{
	const struct uc_tensor *tensor = &model.tensors[model.inputs[0]];
	size_t len = help_sealed_len(tensor);
	uint8_t *sealed = help_seal_input(&model, &question, 0, 1);
	uint32_t kind = fuzz_upto(bytes, 7);
	uint32_t first = 0;
	uint32_t status = UC_ST_OK;
	uint32_t before = help_state(&device);

	if (kind == 0)
		sealed[fuzz_u32(bytes) % len] ^= 1;
	if (kind == 1)
		len = fuzz_u32(bytes) % len;
	if (kind == 2)
		first = 1 + fuzz_upto(bytes, UINT32_MAX - 1);
	status = help_command(&device, UC_CMD_INPUT, 0, first, sealed, len);
	free(sealed);
	if (kind <= 2 || before != UC_STATE_INPUT)
		CHECK(status != UC_ST_OK);
	else
		CHECK_EQUAL(status, UC_ST_OK);
	return status;
}

static uint32_t input(struct fuzz_bytes *bytes)
{
	uint32_t kind = fuzz_upto(bytes, 7);

	if (kind == 0)
		return help_command(&device, UC_CMD_INPUT, fuzz_u8(bytes),
				    fuzz_u32(bytes), expected,
				    fuzz_upto(bytes, 64));
	if (is_sealed(UC_FEATURE_SEALED_INPUT))
		return sealed_input(bytes);
	return help_inputs(&device, &model, 1);
}

/* A whole sealed output, or some other length, which is refused. */
static uint32_t sealed_output(struct fuzz_bytes *bytes, uint32_t index,
			      size_t at)
{
	const struct uc_tensor *tensor = &model.tensors[model.outputs[index]];
	size_t plain_len = 4 * (size_t)help_elements(tensor);
	size_t len = help_sealed_len(tensor);
	uint8_t *answer = malloc(len);
	bool is_whole = fuzz_one_in(bytes, 2);
	uint32_t status = UC_ST_OK;

	CHECK(answer);
	if (!is_whole)
		len = fuzz_u32(bytes) % len;
	memset(answer, 0x55, len);
	status = help_command(&device, UC_CMD_OUTPUT, index, 0, answer, len);
	if (status == UC_ST_OK) {
		float *opened = malloc(len);

		CHECK(is_whole && opened &&
		      help_open_output(&model, &question, index, 0, answer, len,
				       opened) &&
		      memcmp(opened, expected + at, plain_len) == 0);
		free(opened);
		fuzz_count_deep();
	}
	for (size_t i = 0; status != UC_ST_OK && i < len; i++)
		CHECK(answer[i] == 0);
	free(answer);
	return status;
}

static uint32_t output(struct fuzz_bytes *bytes)
{
	uint32_t index = fuzz_upto(bytes, 1);
	uint32_t elements = help_elements(&model.tensors[model.outputs[index]]);
	uint32_t first = fuzz_upto(bytes, elements);
	uint32_t count = fuzz_upto(bytes, elements);
	uint32_t status = 0;
	size_t at = first;

	for (uint32_t i = 0; i < index; i++)
		at += help_elements(&model.tensors[model.outputs[i]]);
	if (is_sealed(UC_FEATURE_SEALED_OUTPUT))
		return sealed_output(bytes, index, at - first);
	memset(outputs, 0x55, 4 * (size_t)count);
	status = help_command(&device, UC_CMD_OUTPUT, index, first, outputs,
			      4 * (size_t)count);
	if (status == UC_ST_OK) {
		CHECK(memcmp(outputs, expected + at, 4 * (size_t)count) == 0);
		fuzz_count_deep();
	}
	for (uint32_t i = 0; status != UC_ST_OK && i < count; i++)
		CHECK(outputs[i] == 0.0f);
	return status;
}

static uint32_t wild(struct fuzz_bytes *bytes)
{
	struct uc_param params[4] = {0};
	uint8_t data[512] = {0};
	/* Those that there are, the gap between them, and one too many. */
	uint32_t command = fuzz_upto(bytes, UC_CMD_ASK + 2);

	for (uint32_t i = fuzz_upto(bytes, 80); i != 0; i--)
		data[i] = fuzz_u8(bytes);

	for (uint32_t i = 0; i < 4; i++) {
		params[i].type = fuzz_upto(bytes, 4);
		params[i].a = fuzz_u32(bytes);
		params[i].b = fuzz_u32(bytes);
		params[i].ns_data = fuzz_one_in(bytes, 2) ? NULL : data;
		params[i].ns_len =
			params[i].ns_data ? fuzz_upto(bytes, 511) : 0;
	}
	if (!uc_service_command(&device.session, command, params))
		return UC_ST_OK;
	/* These do not end anything; what else went wrong did. */
	switch (command) {
	case UC_CMD_INFO:
	case UC_CMD_DEVICE_KEY:
	case UC_CMD_STATS:
	case UC_CMD_UPDATE:
	case UC_CMD_ATTEST:
		return UC_ST_OK;
	default:
		return uc_service_types(command) ? params[0].a : UC_ST_OK;
	}
}

static void one_command(struct fuzz_bytes *bytes)
{
	uint32_t before = help_state(&device);
	uint32_t kind = fuzz_upto(bytes, 31);
	uint32_t status = UC_ST_OK;
	uint32_t after = 0;

	fuzz_count_message();
	if (kind < 14)
		status = push(bytes);
	else if (kind < 18)
		status = help_open(&device, &model);
	else if (kind < 22)
		status = fuzz_one_in(bytes, 2)
				 ? ask(bytes)
				 : help_command(&device, UC_CMD_INFER, 0, 0,
						NULL, 0);
	else if (kind < 26)
		status = input(bytes);
	else if (kind < 29)
		status = output(bytes);
	else if (kind < 30)
		status = help_command(&device, UC_CMD_CLOSE, 0, 0, NULL, 0);
	else
		status = wild(bytes);

	after = help_state(&device);
	CONTEXT("kind %u, status 0x%x, state %u to %u", kind, status, before,
		after);
	if (status != UC_ST_OK && before == UC_STATE_LOADING)
		CHECK_EQUAL(after, UC_STATE_EMPTY);
	else if (status != UC_ST_OK && before > UC_STATE_READY)
		CHECK_EQUAL(after, UC_STATE_READY);
	else if (status != UC_ST_OK)
		CHECK_EQUAL(after, before);
	if (after <= UC_STATE_READY)
		CHECK(device.session.private_io.sealed == 0);
	if (after == UC_STATE_EMPTY && before != UC_STATE_EMPTY)
		CHECK(help_all_bytes(&device, 0, device.len, 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_bytes bytes = {data, len};

	uc_session_close(&device.session);
	if (fuzz_one_in(&bytes, 2)) {
		CHECK_EQUAL(help_open(&device, &model), UC_ST_OK);
		CHECK_EQUAL(help_push_wanted(&device, &model, 9), UC_ST_OK);
	}
	while (bytes.len != 0)
		one_command(&bytes);
	return 0;
}
