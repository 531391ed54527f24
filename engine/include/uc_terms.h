/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conditions of a license (spec/license.md, checks 9 to 16): asked when a model is opened, and again with each batch of
 * inferences that is taken from storage.
 */
#ifndef UC_TERMS_H
#define UC_TERMS_H

#include "uc_state.h"

struct uc_terms {
	/* Names of the entries, and the line they belong to. */
	uint8_t license[32];
	uint8_t provider[32];
	uint8_t model[32];
	uint8_t line[32];
	uint32_t model_version;
	uint32_t issued_at;
	uint32_t begins_at;
	uint32_t ends_at;	 /* grace included; 0: never */
	uint32_t max_inferences; /* 0: any number */
	uint32_t rate_count;	 /* 0: at any rate */
	uint32_t rate_seconds;
	uint32_t version_floor;
	uint32_t features;
	uint32_t update_floor;
	bool without_time;
};

/* What a session holds of a license. */
struct uc_permit {
	struct uc_terms terms;
	uint32_t granted;     /* of the batch under way, not yet begun */
	uint64_t deadline_ms; /* of the clock: when the license ends */
	uint32_t updates;     /* of the device, when last asked */
};

/* May a model be opened now? Writes nothing. */
enum uc_status uc_terms_admit(const struct uc_terms *terms,
			      struct uc_state *state, uint32_t *detail);

/* One inference begins. `updates` counts the updates that this device took;
 * after one, everything is asked again. */
enum uc_status uc_permit_take(struct uc_permit *permit, struct uc_state *state,
			      uint32_t updates, uint32_t *detail);
/* The session ends: write back what is left of the batch, if that works. */
void uc_permit_give_back(struct uc_permit *permit, struct uc_state *state);

/* The model has been loaded: its version becomes its floor. */
enum uc_status uc_permit_loaded(const struct uc_permit *permit,
				struct uc_state *state);

#endif /* UC_TERMS_H */
