/* SPDX-License-Identifier: Apache-2.0 */
#include "uc_terms.h"

#include <string.h>

#include "uc_port.h"

#define KNOWN_FEATURES (UC_FEATURE_SEALED_INPUT | UC_FEATURE_SEALED_OUTPUT)

/*
 * The level of a bucket is a whole number: one inference costs rate_seconds *
 * 1000, and a millisecond brings in rate_count. The largest, a full bucket, is
 * below 2^56 by the limits of the CDDL.
 */
static uint64_t inference_cost(const struct uc_terms *terms)
{
	return (uint64_t)terms->rate_seconds * 1000U;
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Does anything of it have to be kept? A begin that has passed stays so. */
static bool is_counted(const struct uc_terms *terms)
{
	return terms->max_inferences != 0 || terms->rate_count != 0 ||
	       terms->ends_at != 0;
}

static uint64_t device_time(const struct uc_terms *terms,
			    struct uc_state *state)
{
	uint64_t now = terms->issued_at;

	now = later(now, uc_state_time(state,
				       uc_state_find(state, terms->provider)));
	return later(now, uc_state_time(state,
					uc_state_find(state, terms->license)));
}

static enum uc_status check_time(const struct uc_terms *terms,
				 struct uc_state *state, uint32_t *detail)
{
	const struct uc_state_entry *provider =
		uc_state_find(state, terms->provider);
	uint64_t now = device_time(terms, state);

	if (terms->begins_at == 0 && terms->ends_at == 0)
		return UC_ST_OK;
	if (!terms->without_time &&
	    !(provider && (provider->flags & UC_STATE_TOLD_TIME) != 0))
		return UC_ST_NO_TIME;
	if (now < terms->begins_at) {
		*detail = (uint32_t)(terms->begins_at - now);
		return UC_ST_NOT_YET_VALID;
	}
	if (terms->ends_at != 0 && now >= terms->ends_at)
		return UC_ST_EXPIRED;
	return UC_ST_OK;
}

enum uc_status uc_terms_admit(const struct uc_terms *terms,
			      struct uc_state *state, uint32_t *detail)
{
	const struct uc_state_entry *model = uc_state_find(state, terms->model);
	const struct uc_state_entry *provider =
		uc_state_find(state, terms->provider);
	const struct uc_state_entry *license =
		uc_state_find(state, terms->license);
	uint32_t floor = terms->version_floor;
	enum uc_status status = UC_ST_OK;

	*detail = 0;
	if (!state->loaded)
		return UC_ST_STORAGE;
	if ((terms->features & ~KNOWN_FEATURES) != 0)
		return UC_ST_UNSUPPORTED_FEATURE;
	if (provider && (provider->flags & UC_STATE_RETIRED) != 0)
		return UC_ST_UNTRUSTED_PROVIDER;
	if (model && terms->issued_at < model->limit)
		return UC_ST_REVOKED;
	if (model && model->number > floor)
		floor = model->number;
	if (terms->model_version < floor) {
		*detail = floor;
		return UC_ST_MODEL_TOO_OLD;
	}
	if (terms->update_floor > (provider ? provider->number : 0)) {
		*detail = terms->update_floor;
		return UC_ST_UPDATE_NEEDED;
	}
	status = check_time(terms, state, detail);
	if (status != UC_ST_OK)
		return status;
	if (terms->max_inferences != 0 && license &&
	    license->number >= terms->max_inferences)
		return UC_ST_USED_UP;
	return UC_ST_OK;
}

/* What flowed into the bucket since it was last looked at. */
static void fill_bucket(const struct uc_terms *terms,
			const struct uc_state *state,
			struct uc_state_entry *entry)
{
	uint64_t full = terms->rate_count * inference_cost(terms);
	uint64_t passed = state->clock_ms;

	/* As in uc_state_time(). */
	if (passed >= entry->clock_ms)
		passed -= entry->clock_ms;
	if (passed > inference_cost(terms))
		passed = inference_cost(terms); /* fills it whatever it held */
	entry->credit += passed * terms->rate_count;
	if (entry->credit > full)
		entry->credit = full;
}

/* How many inferences may be taken now; 0 says in *detail how long to wait. */
static uint32_t batch_size(const struct uc_terms *terms,
			   const struct uc_state_entry *entry, uint32_t *detail)
{
	uint32_t batch = UC_LICENSE_BATCH;

	if (terms->max_inferences != 0 &&
	    batch > terms->max_inferences - entry->number)
		batch = terms->max_inferences - entry->number;
	if (terms->rate_count != 0) {
		uint64_t cost = inference_cost(terms);
		uint64_t wait_ms = 0;

		if (entry->credit / cost < batch)
			batch = (uint32_t)(entry->credit / cost);
		if (batch == 0) {
			wait_ms = (cost - entry->credit) / terms->rate_count;
			*detail = (uint32_t)(wait_ms / 1000U) + 1U;
		}
	}
	return batch;
}

/* A batch, written before the first of it begins. */
static enum uc_status take_batch(struct uc_permit *permit,
				 struct uc_state *state, uint32_t *detail)
{
	const struct uc_terms *terms = &permit->terms;
	struct uc_state_entry *entry = uc_state_find(state, terms->license);
	uint64_t now = device_time(terms, state);
	bool is_new = !entry;
	uint32_t batch = 0;

	entry = uc_state_make(state, UC_STATE_LICENSE, terms->license,
			      terms->line);
	if (!entry)
		return UC_ST_STATE_FULL;
	if (terms->rate_count != 0) {
		if (is_new)
			entry->credit =
				terms->rate_count * inference_cost(terms);
		fill_bucket(terms, state, entry);
	}
	batch = batch_size(terms, entry, detail);
	if (batch == 0)
		return UC_ST_RATE;
	/* Without a maximum nobody looks at the number. */
	if (terms->max_inferences != 0)
		entry->number += batch;
	if (terms->rate_count != 0)
		entry->credit -= batch * inference_cost(terms);
	entry->time_s = now;
	entry->clock_ms = state->clock_ms;
	entry->limit = terms->ends_at;
	if (!uc_state_save(state, entry))
		return UC_ST_STORAGE;
	permit->granted = batch;
	permit->deadline_ms = UINT64_MAX;
	if (terms->ends_at != 0)
		permit->deadline_ms =
			state->clock_ms + (terms->ends_at - now) * 1000U;
	return UC_ST_OK;
}

enum uc_status uc_permit_take(struct uc_permit *permit, struct uc_state *state,
			      uint32_t updates, uint32_t *detail)
{
	enum uc_status status = UC_ST_OK;
	bool counted = is_counted(&permit->terms);
	uint64_t clock_ms = 0;

	*detail = 0;
	if (permit->updates == updates) {
		if (!counted)
			return UC_ST_OK;
		if (!uc_port_clock_ms(&clock_ms))
			return UC_ST_STORAGE;
		if (permit->granted > 0 && clock_ms < permit->deadline_ms) {
			permit->granted--;
			return UC_ST_OK;
		}
	}
	/* What is left of a batch is given back first, so that it counts. */
	uc_permit_give_back(permit, state);
	if (!uc_state_load(state))
		return UC_ST_STORAGE;
	status = uc_terms_admit(&permit->terms, state, detail);
	if (status == UC_ST_OK && counted)
		status = take_batch(permit, state, detail);
	if (status != UC_ST_OK)
		return status;
	permit->updates = updates;
	if (counted)
		permit->granted--;
	return UC_ST_OK;
}

void uc_permit_give_back(struct uc_permit *permit, struct uc_state *state)
{
	const struct uc_terms *terms = &permit->terms;
	struct uc_state_entry *entry = NULL;
	uint32_t left = permit->granted;

	permit->granted = 0;
	if (left == 0 || !uc_state_load(state))
		return;
	entry = uc_state_find(state, terms->license);
	if (!entry)
		return;
	if (terms->max_inferences != 0)
		entry->number -= left <= entry->number ? left : entry->number;
	if (terms->rate_count != 0) {
		entry->credit += left * inference_cost(terms);
		fill_bucket(terms, state, entry);
	}
	entry->time_s = device_time(terms, state);
	entry->clock_ms = state->clock_ms;
	(void)uc_state_save(state, entry);
}

enum uc_status uc_permit_loaded(const struct uc_permit *permit,
				struct uc_state *state)
{
	const struct uc_terms *terms = &permit->terms;
	struct uc_state_entry *entry = NULL;

	/* Versions begin at 1. */
	if (terms->model_version < 2)
		return UC_ST_OK;
	if (!uc_state_load(state))
		return UC_ST_STORAGE;
	entry = uc_state_make(state, UC_STATE_MODEL, terms->model, terms->line);
	if (!entry)
		return UC_ST_STATE_FULL;
	if (entry->number > terms->model_version)
		return UC_ST_MODEL_TOO_OLD;
	if (entry->number == terms->model_version)
		return UC_ST_OK;
	entry->number = terms->model_version;
	return uc_state_save(state, entry) ? UC_ST_OK : UC_ST_STORAGE;
}
