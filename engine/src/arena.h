/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one block of memory that a model has. Pointers into it are given out
 * here only, so the high-water mark is the truth. In builds with
 * AddressSanitizer everything that was not given out for the step at hand is
 * poisoned: an operator that strays inside the arena is caught as well.
 */
#ifndef UC_ARENA_H
#define UC_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct uc_arena {
	uint8_t *base;
	size_t bytes;
	size_t mark; /* the end of the highest range given out */
};

void uc_arena_init(struct uc_arena *arena, uint8_t *base, size_t bytes);

/* NULL when the range is not inside the arena. */
void *uc_arena_use(struct uc_arena *arena, uint64_t offset, uint64_t len);

/* Poison [from, end); nothing in ordinary builds. */
void uc_arena_close(const struct uc_arena *arena, size_t from);

/* Wipe [from, to), as far as it was ever given out. */
void uc_arena_wipe(const struct uc_arena *arena, size_t from, size_t to);

/* Wipe all of it, given out or not. The arena is empty afterwards. */
void uc_arena_end(struct uc_arena *arena);

#endif /* UC_ARENA_H */
