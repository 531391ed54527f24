/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several sessions in one memory: they neither meet nor leave anything behind.
 */
#include <string.h>

#include "help_check.h"
#include "help_model.h"
#include "pool.h"

#define SESSIONS 8U

static void check_first_fit(void)
{
	static uint8_t memory[1000] __attribute__((aligned(64)));
	struct uc_pool pool;
	struct uc_session s[4];

	CONTEXT("first fit");
	uc_pool_init(&pool, memory, sizeof(memory), 0);
	CHECK_EQUAL(pool.len, 960);
	for (uint32_t i = 0; i < 4; i++)
		uc_session_init(&s[i], &pool);
	CHECK_EQUAL(uc_pool_free_bytes(&pool), 960);
	CHECK(!uc_pool_take(&s[0], 961));
	CHECK(uc_pool_take(&s[0], 1));
	CHECK(uc_pool_take(&s[1], 100));
	CHECK(uc_pool_take(&s[2], 64));
	CHECK(s[0].region == memory && s[1].region == memory + 64);
	CHECK(s[2].region == memory + 64 + 128);
	CHECK_EQUAL(uc_pool_free_bytes(&pool), 960 - 256);
	uc_pool_give_back(&s[1]);
	CHECK(!s[1].region && s[1].region_len == 0);
	CHECK(uc_pool_take(&s[3], 128));
	CHECK(s[3].region == memory + 64);
	CHECK(!uc_pool_take(&s[1], 960 - 255));
	CHECK(uc_pool_take(&s[1], 960 - 256));
	CHECK_EQUAL(uc_pool_free_bytes(&pool), 0);
	uc_pool_give_back(&s[0]);
	CHECK_EQUAL(uc_pool_free_bytes(&pool), 64);
	uc_pool_give_back(&s[2]);
	uc_pool_give_back(&s[3]);
	CHECK_EQUAL(uc_pool_free_bytes(&pool), 256);
	uc_pool_give_back(&s[1]);
	CHECK_EQUAL(uc_pool_free_bytes(&pool), 960);
	CHECK(!pool.sessions);
}

/* Regions taken and given back at random, against a map of bytes. */
static void check_at_random(void)
{
	static uint8_t memory[4096] __attribute__((aligned(64)));
	struct uc_pool pool;
	struct uc_session s[SESSIONS];
	uint32_t random = 5;

	uc_pool_init(&pool, memory, sizeof(memory), 0);
	for (uint32_t i = 0; i < SESSIONS; i++)
		uc_session_init(&s[i], &pool);
	for (uint32_t round = 0; round < 20000; round++) {
		struct uc_session *one = &s[help_random(&random) % SESSIONS];
		size_t free_bytes = uc_pool_free_bytes(&pool);
		size_t len = 1 + help_random(&random) % 1500;

		CONTEXT("round %u", round);
		if (one->region) {
			uc_pool_give_back(one);
			continue;
		}
		CHECK_EQUAL(uc_pool_take(one, len), len <= free_bytes);
		for (uint32_t i = 0; one->region && i < SESSIONS; i++) {
			if (&s[i] == one || !s[i].region)
				continue;
			CHECK(s[i].region + s[i].region_len <= one->region ||
			      one->region + one->region_len <= s[i].region);
			CHECK((uintptr_t)one->region % 64 == 0);
			CHECK(one->region + len <= memory + sizeof(memory));
		}
	}
}

/* Two models side by side, their commands interleaved page by page. */
static void check_two_sessions(void)
{
	struct help_model model = {0};
	struct help_device device = {0};
	struct uc_session first = {0};
	struct uc_session second = {0};
	size_t arena = 0;
	size_t elements = 0;
	float *alone = NULL;
	float *together = NULL;

	CONTEXT("two sessions");
	help_sample(&model, 30, 1, 0);
	arena = (model.program.arena_bytes + 63) / 64 * 64;
	elements = help_output_elements(&model);
	alone = calloc(2 * elements, 4);
	CHECK(alone);
	together = alone + elements;
	help_device_init(&device, 2 * arena);
	CHECK_EQUAL(help_open(&device, &model), UC_ST_OK);
	CHECK_EQUAL(help_push_wanted(&device, &model, 1), UC_ST_OK);
	help_infer(&device, &model, 3, 1, alone);
	CHECK_EQUAL(help_command(&device, UC_CMD_INFER, 0, 0, NULL, 0),
		    UC_ST_OK);
	CHECK_EQUAL(help_inputs(&device, &model, 3), UC_ST_OK);
	for (uint32_t i = 0; i < model.streamed_pages; i++) {
		CHECK_EQUAL(help_push(&device, &model,
				      help_load_pages(&model) + i, 1),
			    UC_ST_OK);
		/* The other one opens, computes and goes in between. */
		first = device.session;
		device.pool.sessions = &first;
		device.session = second;
		uc_session_init(&device.session, &device.pool);
		CHECK_EQUAL(help_open(&device, &model), UC_ST_OK);
		CHECK_EQUAL(help_push_wanted(&device, &model, 9), UC_ST_OK);
		help_infer(&device, &model, 3, 2, together);
		CHECK(memcmp(alone, together, 4 * elements) == 0);
		CHECK_EQUAL(uc_pool_free_bytes(&device.pool), 0);
		uc_session_close(&device.session);
		CHECK(help_all_bytes(&device, arena, 2 * arena, 0));
		device.session = first;
		device.pool.sessions = &device.session;
	}
	CHECK_EQUAL(help_state(&device), UC_STATE_DONE);
	CHECK_EQUAL(help_command(&device, UC_CMD_OUTPUT, 1, 0, together, 40),
		    UC_ST_OK);
	help_device_free(&device);
	free(alone);
	help_free(&model);
}

int main(void)
{
	check_first_fit();
	check_at_random();
	check_two_sessions();
	return 0;
}
