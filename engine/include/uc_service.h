/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of spec/ta-abi.md, without a TEE header: the TA and the host library route their parameters here, so that both
 * make the same checks in the same order.
 */
#ifndef UC_SERVICE_H
#define UC_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "uc_engine.h"

enum uc_param_type {
	UC_PARAM_NONE,
	UC_PARAM_VALUE_INOUT,
	UC_PARAM_VALUE_OUTPUT,
	UC_PARAM_MEMREF_INPUT,
	UC_PARAM_MEMREF_OUTPUT,
};

struct uc_param {
	enum uc_param_type type;
	uint32_t a, b;		/* values */
	uint8_t *ns_data;	/* memory reference: shared memory, hostile */
	size_t ns_len;		/* room; for outputs then the length written */
};

/* The secure memory that all sessions share. */
struct uc_pool {
	uint8_t *memory;	/* 64-byte aligned */
	size_t len;
	struct uc_session *sessions;	/* those with a region, by address */
};

struct uc_session {
	struct uc_pool *pool;
	struct uc_session *next;
	uint8_t *region;	/* NULL: nothing open */
	size_t region_len;
	struct uc_engine *engine;
	uint64_t commands;
};

void uc_session_init(struct uc_session *session, struct uc_pool *pool);
/* Wipes and gives back what the session holds. */
void uc_session_close(struct uc_session *session);

/* The types that a command takes, or NULL for an unknown command. */
const enum uc_param_type *uc_service_types(uint32_t command);

/* False: the parameter types are wrong (nothing was done). */
bool uc_service_command(struct uc_session *session, uint32_t command,
			struct uc_param params[4]);

#endif /* UC_SERVICE_H */
