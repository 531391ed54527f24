/* SPDX-License-Identifier: Apache-2.0 */
#include "uc_host.h"

#include <stdlib.h>
#include <string.h>

#include "port_host.h"

_Static_assert(sizeof(struct uc_param) == 32 &&
		       offsetof(struct uc_param, ns_data) == 16,
	       "uc_host.h documents this layout for other languages");

struct uc_host {
	struct uc_pool pool;
	uint8_t device_private_key[32];
	struct uc_port_host_state state;
	char *state_path;
	struct host_session *sessions;
};

/* The first member is what callers hold. */
struct host_session {
	struct uc_session session;
	struct uc_host *host;
	struct host_session *next;
};

struct uc_host *uc_host_create(size_t arena_bytes,
			       const uint8_t device_private_key[32])
{
	size_t len = arena_bytes & ~(size_t)(UC_ARENA_ALIGN_BYTES - 1);
	struct uc_host *host = calloc(1, sizeof(*host));
	uint8_t *memory = NULL;

	if (!host || len == 0 || len > UINT32_MAX)
		goto fail;
	memory = aligned_alloc(UC_ARENA_ALIGN_BYTES, len);
	if (!memory)
		goto fail;
	uc_pool_init(&host->pool, memory, len, 0);
	memcpy(host->device_private_key, device_private_key,
	       sizeof(host->device_private_key));
	host->state.stores_left = -1;
	return host;
fail:
	free(host);
	return NULL;
}

/* All that a thread must say before it calls the engine for a host. */
static void act_for(struct uc_host *host)
{
	uc_port_host_use_device(host ? host->device_private_key : NULL);
	uc_port_host_use_state(host ? &host->state : NULL);
}

int uc_host_keep_state(struct uc_host *host, const char *path)
{
	char *copy = strdup(path);

	if (!copy)
		return 0;
	free(host->state_path);
	host->state_path = copy;
	host->state.path = copy;
	return 1;
}

void uc_host_destroy(struct uc_host *host)
{
	if (!host)
		return;
	while (host->sessions)
		uc_host_session_close(&host->sessions->session);
	act_for(NULL);
	free(host->state_path);
	free(host->pool.memory);
	uc_port_wipe(host, sizeof(*host));
	free(host);
}

const uint8_t *uc_host_arena(const struct uc_host *host, size_t *len)
{
	*len = host->pool.len;
	return host->pool.memory;
}

struct uc_session *uc_host_session_open(struct uc_host *host)
{
	struct host_session *session = calloc(1, sizeof(*session));

	if (!session)
		return NULL;
	uc_session_init(&session->session, &host->pool);
	session->host = host;
	session->next = host->sessions;
	host->sessions = session;
	return &session->session;
}

void uc_host_session_close(struct uc_session *session)
{
	struct host_session *closed = (struct host_session *)session;
	struct host_session **link = NULL;

	if (!session)
		return;
	act_for(closed->host);
	uc_session_close(session);
	for (link = &closed->host->sessions; *link != closed;)
		link = &(*link)->next;
	*link = closed->next;
	free(closed);
}

int uc_host_command(struct uc_session *session, uint32_t command,
		    struct uc_param params[4])
{
	act_for(((struct host_session *)session)->host);
	return uc_service_command(session, command, params);
}
