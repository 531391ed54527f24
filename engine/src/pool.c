/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regions of the secure memory, first fit. The list of sessions that have one
 * is the whole bookkeeping; it lies in the sessions, not in the memory.
 */
#include "pool.h"

#include "bytes.h"

/* Regions begin on ARENA_ALIGN_BYTES boundaries. */
static size_t aligned(size_t offset)
{
	return (offset + UC_ARENA_ALIGN_BYTES - 1) &
	       ~(size_t)(UC_ARENA_ALIGN_BYTES - 1);
}

void uc_pool_init(struct uc_pool *pool, uint8_t *memory, size_t len,
		  uint32_t advised_pages)
{
	memset(pool, 0, sizeof(*pool));
	pool->memory = memory;
	/* A whole number of units: aligned() can then never pass the end. */
	pool->len = len & ~(size_t)(UC_ARENA_ALIGN_BYTES - 1);
	pool->advised_pages = advised_pages;
}

/* The hole before `session`, which is NULL for the one at the end. */
static size_t hole_end(const struct uc_pool *pool,
		       const struct uc_session *session)
{
	return session ? (size_t)(session->region - pool->memory) : pool->len;
}

static size_t region_end(const struct uc_pool *pool,
			 const struct uc_session *session)
{
	return aligned((size_t)(session->region - pool->memory) +
		       session->region_len);
}

size_t uc_pool_free_bytes(const struct uc_pool *pool)
{
	const struct uc_session *session = pool->sessions;
	size_t begin = 0;
	size_t largest = 0;

	for (;;) {
		size_t hole = hole_end(pool, session) - begin;

		if (largest < hole)
			largest = hole;
		if (!session)
			return largest;
		begin = region_end(pool, session);
		session = session->next;
	}
}

bool uc_pool_take(struct uc_session *session, size_t len)
{
	struct uc_pool *pool = session->pool;
	struct uc_session **link = &pool->sessions;
	size_t begin = 0;

	while (hole_end(pool, *link) - begin < len) {
		if (!*link)
			return false;
		begin = region_end(pool, *link);
		link = &(*link)->next;
	}
	session->region = pool->memory + begin;
	session->region_len = len;
	session->next = *link;
	*link = session;
	return true;
}

void uc_pool_give_back(struct uc_session *session)
{
	struct uc_session **link = &session->pool->sessions;

	while (*link && *link != session)
		link = &(*link)->next;
	if (*link)
		*link = session->next;
	session->next = NULL;
	session->region = NULL;
	session->region_len = 0;
}
