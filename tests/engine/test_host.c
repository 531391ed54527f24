/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host library: several devices in one process, sessions in any order.
 * What it fails to free, LeakSanitizer says at the end.
 */
#include <string.h>

#include "help_check.h"
#include "help_model.h"
#include "uc_host.h"

static uint32_t command(struct uc_session *session, uint32_t number,
			const void *data, size_t len, struct uc_param *params)
{
	const enum uc_param_type *types = uc_service_types(number);

	memset(params, 0, 4 * sizeof(*params));
	for (uint32_t i = 0; i < 4; i++)
		params[i].type = types[i];
	params[1].ns_data = (uint8_t *)(uintptr_t)data;
	params[1].ns_len = len;
	params[2].ns_data = (uint8_t *)(uintptr_t)"license";
	params[2].ns_len = 7;
	CHECK_EQUAL(uc_host_command(session, number, params), 1);
	return params[0].a;
}

static uint32_t open_model(struct uc_session *session,
			   const struct help_model *model)
{
	struct uc_param params[4];
	struct uc_opened_model opened = {
		.suite = UC_SUITE_AES_256_GCM,
		.page_bytes = model->program.page_bytes,
		.program_pages = model->program_pages,
		.resident_pages = model->resident_pages,
		.streamed_pages = model->streamed_pages,
		.budget_bytes = (uint32_t)model->program.arena_bytes,
	};

	return command(session, UC_CMD_OPEN, &opened, sizeof(opened), params);
}

static void check_limits(void)
{
	uint8_t key[32] = {9};
	struct uc_param params[4] = {0};
	struct uc_host *host = NULL;
	struct uc_session *session = NULL;

	CONTEXT("limits");
	CHECK(!uc_host_create(0, key));
	CHECK(!uc_host_create(63, key));
	CHECK(!uc_host_create((size_t)UINT32_MAX + 65, key));
	uc_host_destroy(NULL);
	uc_host_session_close(NULL);
	host = uc_host_create(100, key);
	CHECK(host);
	session = uc_host_session_open(host);
	CHECK(session);
	CHECK_EQUAL(uc_host_command(session, UC_CMD_INFER, params), 0);
	CHECK_EQUAL(uc_host_command(session, 99, params), 0);
	uc_host_destroy(host);
}

/* The device key is that of the host whose session it is. */
static void check_keys(void)
{
	/* X25519 ignores the lowest three bits. */
	uint8_t keys[2][32] = {{8}, {16}};
	uint8_t answers[2][256] = {{0}, {0}};
	struct uc_host *hosts[2] = {NULL, NULL};
	struct uc_session *sessions[2] = {NULL, NULL};
	struct uc_param params[4];

	CONTEXT("two devices");
	for (uint32_t i = 0; i < 2; i++) {
		hosts[i] = uc_host_create(4096, keys[i]);
		CHECK(hosts[i]);
		memset(keys[i], 0, 32); /* it was copied */
		sessions[i] = uc_host_session_open(hosts[i]);
		CHECK(sessions[i]);
	}
	for (uint32_t i = 0; i < 2; i++)
		CHECK_EQUAL(command(sessions[i], UC_CMD_DEVICE_KEY, answers[i],
				    256, params),
			    UC_ST_OK);
	CHECK(memcmp(answers[0], answers[1], 256) != 0);
	uc_host_destroy(hosts[0]);
	memset(answers[0], 0, 256);
	CHECK_EQUAL(command(sessions[1], UC_CMD_DEVICE_KEY, answers[0], 256,
			    params),
		    UC_ST_OK);
	CHECK(memcmp(answers[0], answers[1], 256) == 0);
	uc_host_destroy(hosts[1]);
}

static void check_sessions(void)
{
	uint8_t key[32] = {3};
	struct help_model model = {0};
	struct uc_host *host = NULL;
	struct uc_session *sessions[3] = {NULL, NULL, NULL};
	size_t arena = 0;

	CONTEXT("sessions of one device");
	help_sample(&model, 30, 40, 0);
	arena = (model.program.arena_bytes + 63) / 64 * 64;
	host = uc_host_create(2 * arena, key);
	CHECK(host);
	for (uint32_t i = 0; i < 3; i++) {
		sessions[i] = uc_host_session_open(host);
		CHECK(sessions[i]);
	}
	CHECK_EQUAL(open_model(sessions[0], &model), UC_ST_OK);
	CHECK_EQUAL(open_model(sessions[1], &model), UC_ST_OK);
	CHECK_EQUAL(open_model(sessions[2], &model), UC_ST_NO_SECURE_MEMORY);
	uc_host_session_close(sessions[0]);
	CHECK_EQUAL(open_model(sessions[2], &model), UC_ST_OK);
	/* Closes the two that are left. */
	uc_host_destroy(host);
	help_free(&model);
}

int main(void)
{
	check_limits();
	check_keys();
	check_sessions();
	return 0;
}
