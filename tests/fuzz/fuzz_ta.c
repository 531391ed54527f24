/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invocations as any client of the TEE may make them: any command with any types
 * of parameters, memory of any length at any place, sessions opened with
 * parameters. The Trusted Application's own sources run over a fake TEE
 * (tests/tee), in which calls fail as well. It neither panics nor keeps a handle,
 * and refuses other types than a command's own.
 */
#include <stdlib.h>
#include <string.h>
#include <tee_internal_api.h>

#include "fake_tee.h"
#include "help_check.h"
#include "help_fuzz.h"
#include "uc_service.h"
#include "uc_spec.h"

#define MOST_BYTES 600U

char help_context[256] = "start";

/* The codes of GlobalPlatform by those of the engine. */
static const uint32_t type_codes[] = {
	[UC_PARAM_NONE] = TEE_PARAM_TYPE_NONE,
	[UC_PARAM_VALUE_INOUT] = TEE_PARAM_TYPE_VALUE_INOUT,
	[UC_PARAM_VALUE_OUTPUT] = TEE_PARAM_TYPE_VALUE_OUTPUT,
	[UC_PARAM_MEMREF_INPUT] = TEE_PARAM_TYPE_MEMREF_INPUT,
	[UC_PARAM_MEMREF_OUTPUT] = TEE_PARAM_TYPE_MEMREF_OUTPUT,
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fake_tee_reset();
	CHECK_EQUAL(TA_CreateEntryPoint(), TEE_SUCCESS);
	return 0;
}

/* Those that a command takes; none for one that does not exist. */
static bool right_types(uint32_t command, uint32_t *types)
{
	const enum uc_param_type *own = uc_service_types(command);

	if (!own)
		return false;
	*types = TEE_PARAM_TYPES(type_codes[own[0]], type_codes[own[1]],
				 type_codes[own[2]], type_codes[own[3]]);
	return true;
}

static bool is_memory(uint32_t type)
{
	return type >= TEE_PARAM_TYPE_MEMREF_INPUT;
}

/* Of exact size, so that a byte too many is seen. */
static void some_memory(struct fuzz_bytes *bytes, TEE_Param *param)
{
	uint32_t len = fuzz_upto(bytes, MOST_BYTES);
	uint32_t given = len < bytes->len ? len : (uint32_t)bytes->len;
	uint8_t *memory = malloc(len ? len : 1);

	CHECK(memory);
	memset(memory, 0x55, len);
	memcpy(memory, bytes->data, given);
	bytes->data += given;
	bytes->len -= given;
	param->memref.buffer = memory;
	param->memref.size = len;
}

static void invoke(struct fuzz_bytes *bytes, void *session)
{
	/* Those that there are, the gap between them, and one too many. */
	uint32_t command = fuzz_upto(bytes, UC_CMD_ASK + 2);
	TEE_Param params[4] = {0};
	void *memory[4] = {0};
	size_t rooms[4] = {0};
	uint32_t right = 0;
	uint32_t types = 0;
	bool exists = right_types(command, &right);
	TEE_Result result = TEE_SUCCESS;

	types = exists && !fuzz_one_in(bytes, 4) ? right : fuzz_u16(bytes);
	for (uint32_t i = 0; i < 4; i++) {
		if (is_memory(TEE_PARAM_TYPE_GET(types, i))) {
			some_memory(bytes, &params[i]);
			memory[i] = params[i].memref.buffer;
			rooms[i] = params[i].memref.size;
			if (fuzz_one_in(bytes, 16))
				params[i].memref.buffer = NULL;
		} else {
			params[i].value.a = fuzz_u32(bytes);
			params[i].value.b = fuzz_u32(bytes);
		}
	}
	fuzz_count_message();
	result = TA_InvokeCommandEntryPoint(session, command, types, params);
	CHECK(result == TEE_SUCCESS || result == TEE_ERROR_BAD_PARAMETERS);
	if (exists && types != right)
		CHECK_EQUAL(result, TEE_ERROR_BAD_PARAMETERS);
	if (result == TEE_SUCCESS && params[0].value.a == UC_ST_OK)
		fuzz_count_deep();
	for (uint32_t i = 0; i < 4; i++) {
		if (result == TEE_SUCCESS && memory[i])
			CHECK(params[i].memref.size <= rooms[i]);
		free(memory[i]);
	}
	CHECK_EQUAL(fake_tee_panics(), 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_bytes bytes = {data, len};
	uint32_t types = fuzz_one_in(&bytes, 16) ? fuzz_u16(&bytes) : 0;
	uint32_t fails = fuzz_one_in(&bytes, 4) ? fuzz_u8(&bytes) : 0;
	TEE_Param params[4] = {0};
	void *session = NULL;
	TEE_Result result = TEE_SUCCESS;

	fuzz_signs_cheaply = true;
	fake_tee_fail(fails, TEE_ERROR_STORAGE_NO_SPACE,
		      fuzz_one_in(&bytes, 2));
	result = TA_OpenSessionEntryPoint(types, params, &session);
	if (types != 0)
		CHECK_EQUAL(result, TEE_ERROR_BAD_PARAMETERS);
	if (result == TEE_SUCCESS) {
		while (bytes.len != 0)
			invoke(&bytes, session);
		TA_CloseSessionEntryPoint(session);
	}
	CHECK_EQUAL(fake_tee_held(), 0);
	return 0;
}
