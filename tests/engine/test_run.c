/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole models through the commands: every plan of one model gives the same
 * answer to the bit, however its pages arrive; the high-water mark is true;
 * an end at any page leaves nothing behind.
 */
#include <string.h>

#include "help_check.h"
#include "help_model.h"

#define MAX_OUTPUTS 4096U
#define WEIGHTS_SEED 1U
#define INPUT_SEED 7U

static float expected[MAX_OUTPUTS];

static void remember_expected(void)
{
	struct help_model model = {0};
	struct help_device device = {0};
	float spread = 0;

	help_sample(&model, 100, 100, 0);
	CHECK(help_output_elements(&model) <= MAX_OUTPUTS);
	help_device_init(&device, model.program.arena_bytes);
	CHECK_EQUAL(help_open(&device, &model), UC_ST_OK);
	CHECK_EQUAL(help_push_wanted(&device, &model, 100), UC_ST_OK);
	CHECK_EQUAL(help_state(&device), UC_STATE_READY);
	help_infer(&device, &model, INPUT_SEED, 100, expected);
	for (size_t i = 1; i < help_output_elements(&model); i++)
		spread += expected[i] > expected[i - 1] ? 1.0f : 0.0f;
	/* A model that answers a constant would prove nothing. */
	CHECK(spread > 100.0f);
	help_device_free(&device);
	help_free(&model);
}

static void check_stats(struct help_device *device,
			const struct help_model *model, uint64_t inferences)
{
	struct uc_engine_stats stats = {0};
	uint64_t page_bytes = model->program.page_bytes;
	uint64_t streamed = model->streamed_pages;
	uint64_t io = 0;

	help_stats(device, &stats);
	for (uint32_t i = 0; i < model->program.input_count; i++)
		io += model->tensors[model->inputs[i]].bytes;
	for (uint32_t i = 0; i < model->program.output_count; i++)
		io += model->tensors[model->outputs[i]].bytes;
	CHECK_EQUAL(stats.budget_bytes, model->program.arena_bytes);
	CHECK(stats.secure_peak_bytes <= stats.budget_bytes);
	CHECK_EQUAL(stats.weights_bytes, model->program.resident_bytes +
						 model->program.stream_bytes);
	CHECK_EQUAL(stats.decrypted_pages, streamed);
	CHECK_EQUAL(stats.decrypted_bytes, streamed * page_bytes);
	CHECK_EQUAL(stats.load_decrypted_bytes,
		    help_load_pages(model) * page_bytes);
	CHECK_EQUAL(stats.moved_bytes,
		    io + streamed * help_sealed_page_bytes(model));
	CHECK_EQUAL(stats.inferences, inferences);
	CHECK_EQUAL(stats.spilled_bytes, 0);
	CHECK(stats.tick_hz == 0 || stats.ticks_compute > 0);
	/* Nothing beyond the mark was touched. */
	CHECK(help_all_bytes(device, stats.secure_peak_bytes, device->len,
			     HELP_PAINT));
}

/* One plan, three inferences, pages that arrive so many at a time. */
static void check_plan(uint32_t resident, uint32_t step, uint32_t extra,
		       uint32_t pages)
{
	struct help_model model = {0};
	struct help_device device = {0};
	float outputs[MAX_OUTPUTS] = {0};

	CONTEXT("resident %u%%, step %u%%, window +%u, %u pages a push",
		resident, step, extra, pages);
	help_sample(&model, resident, step, extra);
	/* More room than the model needs: it must not be used. */
	help_device_init(&device, model.program.arena_bytes + 65536);
	help_guard(device.memory, device.len);
	CHECK_EQUAL(help_open(&device, &model), UC_ST_OK);
	CHECK_EQUAL(help_push_wanted(&device, &model, pages), UC_ST_OK);
	CHECK_EQUAL(help_state(&device), UC_STATE_READY);
	for (uint32_t i = 1; i <= 3; i++) {
		memset(outputs, 0, sizeof(outputs));
		help_infer(&device, &model, INPUT_SEED, pages, outputs);
		CHECK(memcmp(outputs, expected,
			     4 * help_output_elements(&model)) == 0);
		check_stats(&device, &model, i);
	}
	help_guard(NULL, 0);
	CHECK_EQUAL(help_command(&device, UC_CMD_CLOSE, 0, 0, NULL, 0),
		    UC_ST_OK);
	CHECK(help_all_bytes(&device, 0, model.program.arena_bytes, 0));
	CHECK(help_all_bytes(&device, model.program.arena_bytes, device.len,
			     HELP_PAINT));
	help_device_free(&device);
	help_free(&model);
}

static void check_plans(void)
{
	static const uint32_t residents[] = {0, 30, 50, 100};
	static const uint32_t steps[] = {1, 40, 100};
	static const uint32_t extras[] = {0, 64, 4096, 20000};
	static const uint32_t pages[] = {1, 3, 1000};

	for (uint32_t r = 0; r < 4; r++) {
		for (uint32_t s = 0; s < 3; s++) {
			for (uint32_t e = 0; e < 4; e++)
				check_plan(residents[r], steps[s], extras[e],
					   pages[(r + s + e) % 3]);
		}
	}
}

/* After an inference was ended: only program and resident weights remain. */
static void check_wiped(struct help_device *device,
			const struct help_model *model)
{
	struct uc_engine_stats stats = {0};
	const struct uc_program *p = &model->program;
	size_t program_end = UC_ENGINE_CONTEXT_BYTES +
			     (size_t)model->program_pages * p->page_bytes;
	size_t resident_end = p->resident_offset +
			      (size_t)model->resident_pages * p->page_bytes;

	help_stats(device, &stats);
	if (model->resident_pages == 0) {
		resident_end = program_end;
	} else {
		CHECK_EQUAL(p->resident_offset, program_end);
		CHECK(!help_all_bytes(device, program_end, resident_end, 0));
	}
	if (stats.secure_peak_bytes > resident_end)
		CHECK(help_all_bytes(device, resident_end,
				     stats.secure_peak_bytes, 0));
	CHECK(help_all_bytes(device, stats.secure_peak_bytes, device->len,
			     HELP_PAINT));
}

/* End an inference behind every single page; the next one must work. */
static void check_interruptions(uint32_t resident)
{
	struct help_model model = {0};
	struct help_device device = {0};
	float outputs[MAX_OUTPUTS] = {0};
	static const uint32_t enders[] = {UC_CMD_INFER, UC_CMD_OUTPUT,
					  UC_CMD_INPUT, UC_CMD_OPEN};

	help_sample(&model, resident, 40, 0);
	help_device_init(&device, model.program.arena_bytes);
	CHECK_EQUAL(help_open(&device, &model), UC_ST_OK);
	CHECK_EQUAL(help_push_wanted(&device, &model, 2), UC_ST_OK);
	for (uint32_t i = 0; i < model.streamed_pages; i++) {
		uint8_t byte[4] = {1, 1, 1, 1};
		uint32_t first = help_load_pages(&model);

		CONTEXT("resident %u%%, ended after page %u", resident, i);
		CHECK_EQUAL(help_command(&device, UC_CMD_INFER, 0, 0, NULL, 0),
			    UC_ST_OK);
		CHECK_EQUAL(help_inputs(&device, &model, INPUT_SEED), UC_ST_OK);
		for (uint32_t j = 0; j < i; j++)
			CHECK_EQUAL(help_push(&device, &model, first + j, 1),
				    UC_ST_OK);
		CHECK_EQUAL(help_state(&device), UC_STATE_RUNNING);
		CHECK_EQUAL(help_command(&device, enders[i % 4], 0, 0, byte,
					 sizeof(byte)),
			    UC_ST_BAD_STATE);
		if (enders[i % 4] == UC_CMD_OUTPUT)
			CHECK(byte[0] == 0 && byte[3] == 0);
		CHECK_EQUAL(help_state(&device), UC_STATE_READY);
		check_wiped(&device, &model);
		help_infer(&device, &model, INPUT_SEED, 1, outputs);
		CHECK(memcmp(outputs, expected,
			     4 * help_output_elements(&model)) == 0);
	}
	help_device_free(&device);
	help_free(&model);
}

/* One damaged bit in any page, at several places of it. */
static void check_damage(void)
{
	struct help_model model = {0};
	struct help_device device = {0};
	float outputs[MAX_OUTPUTS] = {0};
	size_t page_bytes = 0;
	uint32_t load = 0;
	uint32_t count = 0;

	help_sample(&model, 30, 40, 0);
	help_device_init(&device, model.program.arena_bytes);
	page_bytes = help_sealed_page_bytes(&model);
	load = help_load_pages(&model);
	count = load + model.streamed_pages;
	CHECK(load > 2 && model.streamed_pages > 2);
	for (uint32_t i = 0; i < 3 * count; i++) {
		uint32_t page = i / 3;
		size_t at = page * page_bytes + (i % 3 == 0   ? 0
						 : i % 3 == 1 ? page_bytes - 17
							      : page_bytes - 1);

		CONTEXT("page %u damaged at byte %zu", page, at);
		model.sealed[at] ^= 0x10;
		if (!device.session.engine)
			CHECK_EQUAL(help_open(&device, &model), UC_ST_OK);
		if (page < load) {
			CHECK_EQUAL(help_push_wanted(&device, &model, 2),
				    UC_ST_NOT_AUTHENTIC);
			CHECK_EQUAL(device.params[0].b, 0);
			CHECK_EQUAL(help_state(&device), UC_STATE_EMPTY);
			CHECK(help_all_bytes(&device, 0, device.len, 0));
		} else {
			CHECK_EQUAL(help_push_wanted(&device, &model, 2),
				    UC_ST_OK);
			CHECK_EQUAL(help_command(&device, UC_CMD_INFER, 0, 0,
						 NULL, 0),
				    UC_ST_OK);
			CHECK_EQUAL(help_inputs(&device, &model, INPUT_SEED),
				    UC_ST_OK);
			CHECK_EQUAL(help_push_wanted(&device, &model, 2),
				    UC_ST_NOT_AUTHENTIC);
			CHECK_EQUAL(help_state(&device), UC_STATE_READY);
		}
		model.sealed[at] ^= 0x10;
	}
	help_infer(&device, &model, INPUT_SEED, 2, outputs);
	CHECK(memcmp(outputs, expected, 4 * help_output_elements(&model)) == 0);
	help_device_free(&device);
	help_free(&model);
}

/* Zeros behind program, resident blob and stream are part of the format. */
static void check_padding(void)
{
	struct help_model model = {0};
	struct help_device device = {0};
	uint32_t page_bytes = 0;

	help_sample(&model, 30, 40, 0);
	help_device_init(&device, model.program.arena_bytes);
	page_bytes = model.program.page_bytes;
	for (uint32_t part = 0; part < 3; part++) {
		uint32_t page = model.program_pages - 1;

		CONTEXT("padding of part %u", part);
		if (part > 0)
			page += model.resident_pages;
		if (part > 1)
			page += model.streamed_pages;
		model.plain[(page + 1) * (size_t)page_bytes - 1] = 1;
		help_seal(&model);
		CHECK_EQUAL(help_open(&device, &model), UC_ST_OK);
		if (part < 2) {
			CHECK_EQUAL(help_push_wanted(&device, &model, 2),
				    UC_ST_BAD_PROGRAM);
			CHECK_EQUAL(device.params[0].b, UC_PROGRAM_DETAIL);
			CHECK_EQUAL(help_state(&device), UC_STATE_EMPTY);
		} else {
			CHECK_EQUAL(help_push_wanted(&device, &model, 2),
				    UC_ST_OK);
			CHECK_EQUAL(help_command(&device, UC_CMD_INFER, 0, 0,
						 NULL, 0),
				    UC_ST_OK);
			CHECK_EQUAL(help_inputs(&device, &model, INPUT_SEED),
				    UC_ST_OK);
			CHECK_EQUAL(help_push_wanted(&device, &model, 2),
				    UC_ST_BAD_PROGRAM);
			CHECK_EQUAL(help_state(&device), UC_STATE_READY);
		}
		model.plain[(page + 1) * (size_t)page_bytes - 1] = 0;
	}
	help_device_free(&device);
	help_free(&model);
}

int main(void)
{
	remember_expected();
	check_plans();
	check_interruptions(0);
	check_interruptions(50);
	check_damage();
	check_padding();
	return 0;
}
