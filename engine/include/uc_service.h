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
#include "uc_terms.h"

enum uc_param_type {
	UC_PARAM_NONE,
	UC_PARAM_VALUE_INOUT,
	UC_PARAM_VALUE_OUTPUT,
	UC_PARAM_MEMREF_INPUT,
	UC_PARAM_MEMREF_OUTPUT,
};

struct uc_param {
	enum uc_param_type type;
	uint32_t a, b;	  /* values */
	uint8_t *ns_data; /* memory reference: shared memory, hostile */
	size_t ns_len;	  /* room; for outputs then the length written */
};

/*
 * The secure memory that all sessions share. Not for several threads at once.
 * The staging area holds a header and a license while they are checked, and a
 * page of a sealed input or output, so that they need no room in the arena or on
 * the stack.
 */
struct uc_pool {
	uint8_t *memory; /* 64-byte aligned */
	size_t len;
	struct uc_session *sessions; /* those with a region, by address */
	uint32_t advised_pages;	     /* of one PUSH; 0: no advice */
	uint32_t updates;	     /* taken since the start */
	struct uc_state state;	     /* read anew for each use */
	uint8_t staging[UC_MAX_HEADER_BYTES + UC_MAX_LICENSE_BYTES];
};

/* The inference under way, as far as it is sealed (spec/private-io.md). */
struct uc_private_io {
	uint32_t sealed; /* UC_FEATURE_SEALED_*; 0: a plain inference */
	uint8_t question_key[32];
	uint8_t answer_key[32];
};

struct uc_session {
	struct uc_pool *pool;
	struct uc_session *next;
	uint8_t *region; /* NULL: nothing open */
	size_t region_len;
	struct uc_engine *engine;
	uint64_t commands; /* since the last INFER or ASK */
	struct uc_permit permit;
	uint8_t header_digest[32]; /* of what is open: SHA-256 */
	struct uc_private_io private_io;
};

void uc_pool_init(struct uc_pool *pool, uint8_t *memory, size_t len,
		  uint32_t advised_pages);
/* The largest region that could be had now. */
size_t uc_pool_free_bytes(const struct uc_pool *pool);

void uc_session_init(struct uc_session *session, struct uc_pool *pool);
/* Wipes and gives back what the session holds. */
void uc_session_close(struct uc_session *session);

/* The four types that a command takes, or NULL for an unknown command. */
const enum uc_param_type *uc_service_types(uint32_t command);

/*
 * False: the parameter types are wrong (nothing was done). An unknown command
 * is answered UC_ST_UNKNOWN_COMMAND when parameter 0 can hold that.
 */
bool uc_service_command(struct uc_session *session, uint32_t command,
			struct uc_param params[4]);

#endif /* UC_SERVICE_H */
