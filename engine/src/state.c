/* SPDX-License-Identifier: Apache-2.0 */
#include "uc_state.h"

#include <string.h>

#include "cose.h"
#include "uc_port.h"

bool uc_state_load(struct uc_state *state)
{
	memset(state, 0, sizeof(*state));
	state->loaded =
		uc_port_clock_ms(&state->clock_ms) &&
		uc_port_state_load((uint8_t *)state->entries, UC_STATE_BYTES);
	if (!state->loaded)
		memset(state->entries, 0, UC_STATE_BYTES);
	return state->loaded;
}

bool uc_state_name(enum uc_state_kind kind, const uint8_t line[32],
		   const uint8_t *id, size_t id_len, uint8_t name[32])
{
	uint8_t text[1 + 32 + 32] = {(uint8_t)kind};

	if (id_len > 32)
		return false;
	memcpy(text + 1, line, 32);
	memcpy(text + 33, id, id_len);
	return uc_port_sha256(text, 33 + id_len, name);
}

struct uc_state_entry *uc_state_find(struct uc_state *state,
				     const uint8_t name[32])
{
	for (size_t i = 0; state->loaded && i < UC_STATE_ENTRIES; i++) {
		struct uc_state_entry *entry = &state->entries[i];

		if (entry->kind != UC_STATE_FREE &&
		    memcmp(entry->name, name, 32) == 0)
			return entry;
	}
	return NULL;
}

/* A license that has ended by its provider's own time opens nothing again. */
static bool has_ended(const struct uc_state *state,
		      const struct uc_state_entry *entry)
{
	return entry->kind == UC_STATE_LICENSE && entry->limit != 0 &&
	       uc_state_time(state, entry) >= entry->limit;
}

struct uc_state_entry *uc_state_make(struct uc_state *state,
				     enum uc_state_kind kind,
				     const uint8_t name[32],
				     const uint8_t line[32])
{
	struct uc_state_entry *entry = uc_state_find(state, name);

	if (entry || !state->loaded)
		return entry;
	for (size_t i = 0; !entry && i < UC_STATE_ENTRIES; i++) {
		if (state->entries[i].kind == UC_STATE_FREE)
			entry = &state->entries[i];
	}
	for (size_t i = 0; !entry && i < UC_STATE_ENTRIES; i++) {
		if (has_ended(state, &state->entries[i]))
			entry = &state->entries[i];
	}
	if (!entry)
		return NULL;
	memset(entry, 0, sizeof(*entry));
	memcpy(entry->name, name, sizeof(entry->name));
	memcpy(entry->line, line, sizeof(entry->line));
	entry->kind = (uint32_t)kind;
	entry->clock_ms = state->clock_ms;
	return entry;
}

bool uc_state_save(struct uc_state *state, const struct uc_state_entry *entry)
{
	size_t offset = (size_t)(entry - state->entries) * sizeof(*entry);

	if (state->loaded)
		state->loaded = uc_port_state_store((const uint8_t *)entry,
						    offset, sizeof(*entry));
	return state->loaded;
}

bool uc_state_save_all(struct uc_state *state)
{
	if (state->loaded)
		state->loaded = uc_port_state_store(
			(const uint8_t *)state->entries, 0, UC_STATE_BYTES);
	return state->loaded;
}

/* A provider's entry is found before its line is known, so it is named by the
 * key alone. */
static bool provider_name(const uint8_t key_id[32], uint8_t name[32])
{
	static const uint8_t no_line[32];

	return uc_state_name(UC_STATE_PROVIDER, no_line, key_id, 32, name);
}

struct uc_state_entry *uc_state_provider(struct uc_state *state,
					 const uint8_t key_id[32])
{
	uint8_t name[32] = {0};

	return provider_name(key_id, name) ? uc_state_find(state, name) : NULL;
}

const uint8_t *uc_state_line(struct uc_state *state, const uint8_t key_id[32])
{
	const struct uc_state_entry *entry = uc_state_provider(state, key_id);

	return entry ? entry->line : key_id;
}

bool uc_state_trusts(struct uc_state *state, const uint8_t key_id[32],
		     const uint8_t public_key[32])
{
	const struct uc_state_entry *entry = uc_state_provider(state, key_id);

	if (entry && (entry->flags & UC_STATE_RETIRED) != 0)
		return false;
	if (entry && (entry->flags & UC_STATE_TRUSTED) != 0)
		return true;
	return uc_port_provider_trusted(key_id, public_key);
}

uint64_t uc_state_time(const struct uc_state *state,
		       const struct uc_state_entry *entry)
{
	uint64_t passed = state->clock_ms;

	if (!entry || entry->time_s == 0)
		return 0;
	/*
	 * The clock starts at zero with the device. When it stands lower than
	 * it did, the device was started since, and all that it shows has
	 * passed; when it stands higher, at least the difference has.
	 */
	if (passed >= entry->clock_ms)
		passed -= entry->clock_ms;
	return entry->time_s + passed / 1000;
}
