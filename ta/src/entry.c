/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Trusted Application's boundary: sessions and routing, nothing else.
 * Everything that comes in is hostile; what the commands do with it is in
 * engine/src/service.c, which the host build runs as well.
 */
#include <tee_internal_api.h>
#include <tee_internal_api_extensions.h>

#include "params.h"
#include "registers.h"
#include "uc_port.h"
#include "uc_service.h"
#include "uc_spec.h"

#ifndef UC_ARENA_BYTES
#define UC_ARENA_BYTES UC_DEFAULT_ARENA_BYTES
#endif

/* What limits a PUSH here is bytes: the size of the client's shared memory. */
#define NO_ADVICE 0U

_Static_assert(UC_ARENA_BYTES % UC_ARENA_ALIGN_BYTES == 0,
	       "the arena is a whole number of units");

static _Alignas(UC_ARENA_ALIGN_BYTES) uint8_t arena[UC_ARENA_BYTES];
static struct uc_pool pool;

TEE_Result TA_CreateEntryPoint(void)
{
	uc_pool_init(&pool, arena, sizeof(arena), NO_ADVICE);
	return TEE_SUCCESS;
}

void TA_DestroyEntryPoint(void)
{
	/* Nothing: closing the sessions has wiped what they held. */
}

TEE_Result TA_OpenSessionEntryPoint(uint32_t types, TEE_Param params[4],
				    void **context)
{
	struct uc_session *session = NULL;

	(void)params;
	if (types != TEE_PARAM_TYPES(TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE,
				     TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE))
		return TEE_ERROR_BAD_PARAMETERS;
	session = TEE_Malloc(sizeof(*session), TEE_MALLOC_FILL_ZERO);
	if (!session)
		return TEE_ERROR_OUT_OF_MEMORY;
	if (uc_port_build() == 0)
		IMSG("development build: it trusts every provider's key");
	uc_session_init(session, &pool);
	*context = session;
	return TEE_SUCCESS;
}

void TA_CloseSessionEntryPoint(void *context)
{
	uc_session_close(context);
	TEE_Free(context);
	uc_ta_forget_registers();
}

TEE_Result TA_InvokeCommandEntryPoint(void *context, uint32_t command,
				      uint32_t types, TEE_Param params[4])
{
	struct uc_session *session = context;
	struct uc_param service_params[4] = {0};

	if (!uc_params_load(service_params, types, params) ||
	    !uc_service_command(session, command, service_params))
		return TEE_ERROR_BAD_PARAMETERS;
	uc_params_store(params, service_params);
	/* What failed or ended was wiped: that is all of it. */
	if (service_params[0].a != UC_ST_OK || !session->engine)
		uc_ta_forget_registers();
	return TEE_SUCCESS;
}
