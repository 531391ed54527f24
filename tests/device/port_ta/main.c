/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions of engine/include/uc_port.h as commands, for
 * tests/device/test_ta_port.py. Parameter 0 is a value: an argument, then 1 or
 * 0 for the function's answer; parameter 1 the input, its fields one after the
 * other; parameter 2 room for the output. It trusts its caller: never ship it.
 */
#include <string.h>
#include <tee_internal_api.h>

#include "uc_port.h"
#include "uc_spec.h"

#define PAGE_BYTES (128U * 1024U)
#define NEED(count)                                                            \
	do {                                                                   \
		if (len < (count))                                             \
			return TEE_ERROR_SHORT_BUFFER;                         \
	} while (0)

enum command {
	CMD_SHA256,
	CMD_HMAC,
	CMD_ED25519,
	CMD_AES128GCM,
	CMD_PAGE,
	CMD_PUBLIC_KEY,
	CMD_DH,
	CMD_TICKS,
	CMD_PANIC,
	CMD_SEAL_PAGE,
	CMD_RANDOM,
	CMD_STATE_LOAD,
	CMD_STATE_STORE,
	CMD_CLOCK,
};

static uint8_t input[PAGE_BYTES];

/* This TA has no policy; keys.c and the port do not ask for one. */

TEE_Result TA_CreateEntryPoint(void)
{
	return TEE_SUCCESS;
}

void TA_DestroyEntryPoint(void)
{
}

TEE_Result TA_OpenSessionEntryPoint(uint32_t types, TEE_Param params[4],
				    void **context)
{
	(void)types;
	(void)params;
	(void)context;
	return TEE_SUCCESS;
}

void TA_CloseSessionEntryPoint(void *context)
{
	(void)context;
}

static bool open_page(uint32_t suite, uint8_t *data, size_t len)
{
	struct uc_port_aead aead = {0};

	return uc_port_aead_init(&aead, suite, data) &&
	       uc_port_aead_open(&aead, data + 32, data + 60, len - 60,
				 data + 44);
}

/* key (32), nonce (12), room for the tag (16), data */
static bool seal_page(uint32_t suite, uint8_t *data, size_t len)
{
	struct uc_port_aead aead = {0};

	return uc_port_aead_init(&aead, suite, data) &&
	       uc_port_aead_seal(&aead, data + 32, data + 60, len - 60,
				 data + 44);
}

/* Ticks that `rounds` refused openings of 64 KiB take, wiping included. */
static uint32_t ticks_of_pages(uint32_t rounds)
{
	uint64_t begin = uc_port_ticks();

	for (uint32_t i = 0; i < rounds; i++)
		(void)open_page(UC_SUITE_AES_256_GCM, input, 60 + 65536);
	return (uint32_t)(uc_port_ticks() - begin);
}

TEE_Result TA_InvokeCommandEntryPoint(void *context, uint32_t command,
				      uint32_t types, TEE_Param params[4])
{
	uint32_t argument = params[0].value.a;
	size_t len = params[1].memref.size;
	uint8_t *out = params[2].memref.buffer;
	size_t copied = 0;
	bool good = false;

	(void)context;
	if (types != TEE_PARAM_TYPES(TEE_PARAM_TYPE_VALUE_INOUT,
				     TEE_PARAM_TYPE_MEMREF_INPUT,
				     TEE_PARAM_TYPE_MEMREF_OUTPUT,
				     TEE_PARAM_TYPE_NONE) ||
	    len > sizeof(input))
		return TEE_ERROR_BAD_PARAMETERS;
	memcpy(input, params[1].memref.buffer, len);
	switch (command) {
	case CMD_SHA256:
		good = uc_port_sha256(input, len, out);
		break;
	case CMD_HMAC:
		NEED(argument);
		good = uc_port_hmac_sha256(input, argument, input + argument,
					   len - argument, out);
		break;
	case CMD_ED25519:
		NEED(96U);
		good = uc_port_ed25519_verify(input, input + 96, len - 96,
					      input + 32);
		break;
	case CMD_AES128GCM:
		NEED(44U + argument);
		copied = len - 44 - argument;
		good = uc_port_aes128gcm_open(input, input + 16, input + 44,
					      argument, input + 44 + argument,
					      copied, input + 28);
		memcpy(out, input + 44 + argument, copied);
		break;
	case CMD_PAGE:
		NEED(60U);
		copied = len - 60;
		good = open_page(argument, input, len);
		memcpy(out, input + 60, copied);
		break;
	case CMD_SEAL_PAGE:
		NEED(60U);
		good = seal_page(argument, input, len);
		memcpy(out, input + 44, len - 44);
		break;
	case CMD_RANDOM:
		good = uc_port_random(out, params[2].memref.size);
		break;
	case CMD_PUBLIC_KEY:
		good = uc_port_device_public_key(out);
		break;
	case CMD_DH:
		NEED(32U);
		good = uc_port_device_dh(input, out);
		break;
	case CMD_STATE_LOAD:
		good = uc_port_state_load(out, params[2].memref.size);
		break;
	case CMD_STATE_STORE:
		good = uc_port_state_store(input, argument, len);
		break;
	case CMD_CLOCK:
		good = uc_port_clock_ms((uint64_t *)(void *)out);
		break;
	case CMD_TICKS:
		params[0].value.b = (uint32_t)uc_port_tick_hz();
		params[0].value.a = ticks_of_pages(argument);
		return TEE_SUCCESS;
	case CMD_PANIC:
		TEE_Panic(0);
		break;
	default:
		return TEE_ERROR_NOT_SUPPORTED;
	}
	uc_port_state_end();
	params[0].value.a = good;
	return TEE_SUCCESS;
}
