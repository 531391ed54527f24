/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Challenges as the normal world may send them, with rooms of any size for the
 * evidence. What comes out is whole and fits, or it is nothing; and no challenge
 * changes what the device keeps.
 */
#include <string.h>

#include "help_check.h"
#include "help_fuzz.h"
#include "help_model.h"

/* A COSE_Sign1: an array of four. */
#define SIGN1 0x84U

static struct help_device device;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	help_device_init(&device, 4096);
	return 0;
}

static void attest(const uint8_t *nonce, size_t nonce_len, size_t room)
{
	static uint8_t before[UC_STATE_BYTES];
	struct uc_param params[4] = {
		{.type = UC_PARAM_VALUE_INOUT},
		{.type = UC_PARAM_MEMREF_INPUT, .ns_len = nonce_len},
		{.type = UC_PARAM_MEMREF_OUTPUT, .ns_len = room},
		{.type = UC_PARAM_NONE},
	};
	bool possible = nonce_len >= UC_MIN_NONCE_BYTES &&
			nonce_len <= UC_MAX_NONCE_BYTES;
	/* Of exact size, so that reading and writing past the end is seen. */
	uint8_t *challenge = malloc(nonce_len ? nonce_len : 1);
	uint8_t *evidence = malloc(room ? room : 1);

	CHECK(challenge && evidence);
	memcpy(challenge, nonce, nonce_len);
	memset(evidence, 0x55, room);
	memcpy(before, device.state.data, sizeof(before));
	params[1].ns_data = nonce_len ? challenge : NULL;
	params[2].ns_data = room ? evidence : NULL;
	CHECK(uc_service_command(&device.session, UC_CMD_ATTEST, params));
	CHECK(memcmp(before, device.state.data, sizeof(before)) == 0);
	if (params[0].a == UC_ST_OK) {
		CHECK(possible);
		CHECK(params[2].ns_len <= room && evidence[0] == SIGN1);
		fuzz_count_deep();
	} else {
		CHECK_EQUAL(params[0].a, possible ? UC_ST_SHORT_BUFFER
						  : UC_ST_BAD_PARAMETERS);
		CHECK_EQUAL(params[2].ns_len, 0);
		for (size_t i = 0; i < room; i++)
			CHECK(evidence[i] == 0);
	}
	free(challenge);
	free(evidence);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_bytes bytes = {data, len};
	size_t room = UC_MAX_EVIDENCE_BYTES;
	size_t nonce_len = 0;

	/* Signing takes most of the time, and none of it is the attacker's. */
	fuzz_signs_cheaply = !fuzz_one_in(&bytes, 64);
	if (fuzz_one_in(&bytes, 2))
		room = fuzz_upto(&bytes, 700);
	nonce_len = fuzz_upto(&bytes, UC_MAX_NONCE_BYTES + 2);
	if (nonce_len > bytes.len)
		nonce_len = bytes.len;
	attest(bytes.data, nonce_len, room);
	return 0;
}
