/* SPDX-License-Identifier: Apache-2.0 */
#include "help_model.h"

#include <string.h>

#include "help_check.h"
#include "port_host.h"

#define STATUS_END 0x1000U /* behind every status code */

/* ---- a header that needs no cryptography ---- */

enum uc_status __real_uc_model_open(const uint8_t *header, size_t header_len,
				    const uint8_t *license, size_t license_len,
				    struct uc_state *state,
				    struct uc_opened_model *opened,
				    uint32_t *detail);
enum uc_status __wrap_uc_model_open(const uint8_t *header, size_t header_len,
				    const uint8_t *license, size_t license_len,
				    struct uc_state *state,
				    struct uc_opened_model *opened,
				    uint32_t *detail);

/* In the tests a header may be the opened model itself. */
enum uc_status __wrap_uc_model_open(const uint8_t *header, size_t header_len,
				    const uint8_t *license, size_t license_len,
				    struct uc_state *state,
				    struct uc_opened_model *opened,
				    uint32_t *detail)
{
	*detail = 0;
	if (header_len != sizeof(*opened))
		return __real_uc_model_open(header, header_len, license,
					    license_len, state, opened, detail);
	memcpy(opened, header, sizeof(*opened));
	return uc_terms_admit(&opened->terms, state, detail);
}

/* ---- which status codes were answered ---- */

bool __real_uc_service_command(struct uc_session *session, uint32_t command,
			       struct uc_param params[4]);
bool __wrap_uc_service_command(struct uc_session *session, uint32_t command,
			       struct uc_param params[4]);

static bool answered[STATUS_END];

/* A line of numbers for test_c.py, which wants each code from some test. */
static void say_answered(void)
{
	const char *path = getenv("HELP_STATUSES");
	FILE *file = path ? fopen(path, "a") : NULL;

	for (size_t i = 0; file && i < STATUS_END; i++) {
		if (answered[i])
			fprintf(file, "%zu\n", i);
	}
	if (file)
		(void)fclose(file);
}

bool __wrap_uc_service_command(struct uc_session *session, uint32_t command,
			       struct uc_param params[4])
{
	static bool says = false;
	bool routed = __real_uc_service_command(session, command, params);

	if (!says)
		(void)atexit(say_answered);
	says = true;
	if (routed && params[0].a < STATUS_END)
		answered[params[0].a] = true;
	return routed;
}

/* ---- random bytes ---- */

bool help_random_fails;

bool __real_uc_port_random(uint8_t *out, size_t len);
bool __wrap_uc_port_random(uint8_t *out, size_t len);

bool __wrap_uc_port_random(uint8_t *out, size_t len)
{
	return !help_random_fails && __real_uc_port_random(out, len);
}

/* ---- the device ---- */

static const uint8_t device_key[32] = {1, 2, 3, 4};

void help_device_init(struct help_device *device, size_t len)
{
	memset(device, 0, sizeof(*device));
	device->len = (len + 63) / 64 * 64;
	device->memory = aligned_alloc(64, device->len);
	CHECK(device->memory);
	memset(device->memory, HELP_PAINT, device->len);
	uc_port_host_use_device(device_key);
	device->state.stores_left = -1;
	uc_port_host_use_state(&device->state);
	uc_pool_init(&device->pool, device->memory, device->len, 0);
	uc_session_init(&device->session, &device->pool);
}

void help_device_free(struct help_device *device)
{
	uc_session_close(&device->session);
	free(device->memory);
}

uint32_t help_command(struct help_device *device, uint32_t command, uint32_t a,
		      uint32_t b, const void *data, size_t len)
{
	const enum uc_param_type *types = uc_service_types(command);
	struct uc_param *params = device->params;

	CHECK(types);
	memset(params, 0, sizeof(device->params));
	for (uint32_t i = 0; i < 4; i++) {
		params[i].type = types[i];
		params[i].a = params[i].b = 0xEEEEEEEEU;
	}
	params[0].a = a;
	params[0].b = b;
	params[1].ns_data = (uint8_t *)(uintptr_t)data;
	params[1].ns_len = len;
	if (command == UC_CMD_OPEN) {
		params[2].ns_data = (uint8_t *)(uintptr_t)"license";
		params[2].ns_len = 7;
	}
	CHECK(uc_service_command(&device->session, command, params));
	return params[0].a;
}

uint32_t help_state(const struct help_device *device)
{
	return device->session.engine ? uc_engine_state(device->session.engine)
				      : UC_STATE_EMPTY;
}

uint32_t help_open(struct help_device *device, const struct help_model *model)
{
	struct uc_opened_model opened = {
		.suite = UC_SUITE_AES_256_GCM,
		.page_bytes = model->program.page_bytes,
		.program_pages = model->program_pages,
		.resident_pages = model->resident_pages,
		.streamed_pages = model->streamed_pages,
		.budget_bytes = (uint32_t)model->program.arena_bytes,
	};

	opened.terms = device->terms;
	memcpy(opened.page_key, model->key, sizeof(opened.page_key));
	return help_command(device, UC_CMD_OPEN, 0, 0, &opened, sizeof(opened));
}

uint32_t help_push(struct help_device *device, const struct help_model *model,
		   uint32_t first, uint32_t count)
{
	return help_command(device, UC_CMD_PUSH, first, count,
			    help_page(model, first),
			    count * help_sealed_page_bytes(model));
}

static bool is_spilling(const struct help_device *device)
{
	uint32_t state = help_state(device);

	return state == UC_STATE_SPILLING || state == UC_STATE_FILLING;
}

/* Keep what the device hands out, give back what it wants, some at a time. */
static uint32_t help_serve_spill(struct help_device *device,
				 const struct help_model *model, uint32_t pages,
				 uint8_t *spilled)
{
	size_t slot = help_sealed_page_bytes(model);
	uint32_t state = help_state(device);
	struct uc_want want = {0};
	uint32_t count = 0;

	uc_engine_want(device->session.engine, &want);
	CHECK(want.count != 0 &&
	      want.first + want.count <= model->program.spill_pages);
	count = want.count < pages ? want.count : pages;
	return help_command(
		device, state == UC_STATE_SPILLING ? UC_CMD_SPILL : UC_CMD_FILL,
		want.first, count, spilled + want.first * slot, count * slot);
}

uint32_t help_push_wanted(struct help_device *device,
			  const struct help_model *model, uint32_t pages)
{
	struct uc_want want = {0};
	uint32_t status = UC_ST_OK;

	uc_engine_want(device->session.engine, &want);
	while (status == UC_ST_OK && want.count != 0 && !is_spilling(device)) {
		uint32_t count = want.count < pages ? want.count : pages;

		status = help_push(device, model, want.first, count);
		want.first = device->params[2].a;
		want.count = device->params[2].b;
	}
	return status;
}

float *help_input_data(const struct help_model *model, uint32_t index,
		       uint32_t seed)
{
	uint32_t elements =
		help_elements(&model->tensors[model->inputs[index]]);
	float *data = malloc(4 * (size_t)elements);
	uint32_t state = seed + index;

	CHECK(data);
	for (uint32_t i = 0; i < elements; i++)
		data[i] = (float)(help_random(&state) % 2001U) / 1000.0f - 1.0f;
	return data;
}

uint32_t help_inputs(struct help_device *device, const struct help_model *model,
		     uint32_t seed)
{
	uint32_t status = UC_ST_OK;

	for (uint32_t i = 0;
	     status == UC_ST_OK && i < model->program.input_count; i++) {
		float *data = help_input_data(model, i, seed);

		status = help_command(
			device, UC_CMD_INPUT, i, 0, data,
			4 * (size_t)help_elements(
				    &model->tensors[model->inputs[i]]));
		free(data);
	}
	return status;
}

size_t help_output_elements(const struct help_model *model)
{
	size_t elements = 0;

	for (uint32_t i = 0; i < model->program.output_count; i++)
		elements += help_elements(&model->tensors[model->outputs[i]]);
	return elements;
}

void help_infer(struct help_device *device, const struct help_model *model,
		uint32_t seed, uint32_t pages, float *outputs)
{
	uint8_t *spilled = NULL;

	CHECK_EQUAL(help_command(device, UC_CMD_INFER, 0, 0, NULL, 0),
		    UC_ST_OK);
	CHECK_EQUAL(help_state(device), UC_STATE_INPUT);
	CHECK_EQUAL(help_inputs(device, model, seed), UC_ST_OK);
	spilled = calloc(model->program.spill_pages + 1U,
			 help_sealed_page_bytes(model));
	CHECK(spilled);
	CHECK_EQUAL(help_push_wanted(device, model, pages), UC_ST_OK);
	while (is_spilling(device)) {
		CHECK_EQUAL(help_serve_spill(device, model, pages, spilled),
			    UC_ST_OK);
		CHECK_EQUAL(help_push_wanted(device, model, pages), UC_ST_OK);
	}
	free(spilled);
	CHECK_EQUAL(help_state(device), UC_STATE_DONE);
	for (uint32_t i = 0; i < model->program.output_count; i++) {
		uint32_t elements =
			help_elements(&model->tensors[model->outputs[i]]);

		CHECK_EQUAL(help_command(device, UC_CMD_OUTPUT, i, 0, outputs,
					 4 * (size_t)elements),
			    UC_ST_OK);
		outputs += elements;
	}
}

void help_stats(struct help_device *device, struct uc_engine_stats *stats)
{
	CHECK_EQUAL(
		help_command(device, UC_CMD_STATS, 0, 0, stats, sizeof(*stats)),
		UC_ST_OK);
}

__attribute__((no_sanitize("address"))) bool
help_all_bytes(const struct help_device *device, size_t from, size_t to,
	       uint8_t value)
{
	const volatile uint8_t *memory = device->memory;

	CHECK(from <= to && to <= device->len);
	for (size_t i = from; i < to; i++) {
		if (memory[i] != value)
			return false;
	}
	return true;
}
