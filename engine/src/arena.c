/* SPDX-License-Identifier: Apache-2.0 */
#include "arena.h"

#include "bytes.h"
#include "guard.h"
#include "uc_port.h"

void uc_arena_init(struct uc_arena *arena, uint8_t *base, size_t bytes)
{
	arena->base = base;
	arena->bytes = bytes;
	arena->mark = 0;
}

/* Kernels may load whole vectors at the end of an input, three at a time where
 * windows are copied. */
#define OVERREAD_BYTES 48U

void *uc_arena_use(struct uc_arena *arena, uint64_t offset, uint64_t len)
{
	if (!uc_range_fits(offset, len, arena->bytes))
		return NULL;
	if (arena->mark < offset + len)
		arena->mark = (size_t)(offset + len);
	if (len + OVERREAD_BYTES <= arena->bytes - offset)
		uc_guard_open(arena->base + offset,
			      (size_t)len + OVERREAD_BYTES);
	else
		uc_guard_open(arena->base + offset, (size_t)len);
	return arena->base + offset;
}

void uc_arena_close(const struct uc_arena *arena, size_t from)
{
	uc_guard_close(arena->base + from, arena->bytes - from);
}

void uc_arena_wipe(const struct uc_arena *arena, size_t from, size_t to)
{
	if (to > arena->mark)
		to = arena->mark;
	if (from >= to)
		return;
	uc_guard_open(arena->base + from, to - from);
	uc_port_wipe(arena->base + from, to - from);
}

void uc_arena_end(struct uc_arena *arena)
{
	uint8_t *base = arena->base;
	size_t bytes = arena->bytes;

	/* The arena's own record may lie inside it. */
	uc_guard_open(base, bytes);
	uc_port_wipe(base, bytes);
}
