/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a device keeps of providers, models and licenses (spec/license.md, "What a device keeps"): a table in secure storage,
 * read whole before it is used, written entry by entry.
 */
#ifndef UC_STATE_H
#define UC_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "uc_spec.h"

enum uc_state_kind {
	UC_STATE_FREE = 0,
	UC_STATE_PROVIDER = 1,
	UC_STATE_MODEL = 2,
	UC_STATE_LICENSE = 3,
};

#define UC_STATE_TOLD_TIME 1U /* provider: an update was taken */
#define UC_STATE_TRUSTED 2U   /* provider: named as a successor */
#define UC_STATE_RETIRED 4U   /* provider: retired by its successor */

/* As it is stored: little-endian, 128 bytes. */
struct uc_state_entry {
	uint8_t name[32];  /* SHA-256 of kind, line and what it is about */
	uint32_t kind;	   /* enum uc_state_kind */
	uint32_t flags;	   /* provider: UC_STATE_TOLD_TIME... */
	uint32_t number;   /* provider: highest update; model: version floor;
			    * license: inferences begun */
	uint32_t limit;	   /* model: revocation floor; license: when it ends,
			    * 0 for never */
	uint64_t time_s;   /* provider, license: this time had passed ... */
	uint64_t clock_ms; /* ... when the device's clock stood here */
	uint64_t credit;   /* license: level of the bucket (terms.c) */
	uint8_t line[32];  /* the first of the provider's keys */
	uint8_t reserved[24];
};

struct uc_state {
	bool loaded;
	uint64_t clock_ms; /* when it was loaded */
	struct uc_state_entry entries[UC_STATE_ENTRIES];
};

#define UC_STATE_BYTES (UC_STATE_ENTRIES * sizeof(struct uc_state_entry))

_Static_assert(sizeof(struct uc_state_entry) == 128,
	       "entries are stored as they lie in memory");

/* Read storage. False, and `loaded` too, when it fails. */
bool uc_state_load(struct uc_state *state);

/* The name of an entry; id is what it is about: a key, model or license id of
 * at most 32 bytes. */
bool uc_state_name(enum uc_state_kind kind, const uint8_t line[32],
		   const uint8_t *id, size_t id_len, uint8_t name[32]);
/* NULL when there is none, also when the state is not loaded. */
struct uc_state_entry *uc_state_find(struct uc_state *state,
				     const uint8_t name[32]);
/* The same, or a fresh one, in memory only; NULL when the table is full. */
struct uc_state_entry *uc_state_make(struct uc_state *state,
				     enum uc_state_kind kind,
				     const uint8_t name[32],
				     const uint8_t line[32]);
/* Write one entry, or all. On failure the state is no longer loaded. */
bool uc_state_save(struct uc_state *state, const struct uc_state_entry *entry);
bool uc_state_save_all(struct uc_state *state);

/* The provider's entry by its key's id, and the line of that key: its own id
 * unless another key's update named it. */
struct uc_state_entry *uc_state_provider(struct uc_state *state,
					 const uint8_t key_id[32]);
const uint8_t *uc_state_line(struct uc_state *state, const uint8_t key_id[32]);
/* Retired, trusted by succession, or as the build says. */
bool uc_state_trusts(struct uc_state *state, const uint8_t key_id[32],
		     const uint8_t public_key[32]);

/* A time in seconds that has certainly passed, by this entry; 0 for NULL. */
uint64_t uc_state_time(const struct uc_state *state,
		       const struct uc_state_entry *entry);

#endif /* UC_STATE_H */
