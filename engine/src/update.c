/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A provider's update (spec/license.md): time, revocations, version floors,
 * a succeeding key. All of it is taken with one write, or nothing.
 */
#include <string.h>

#include "cose.h"
#include "uc_cbor_decode.h"
#include "uc_license.h"
#include "uc_port.h"

_Static_assert(UC_MAX_UPDATE_BYTES <= UC_MAX_HEADER_BYTES,
	       "the buffer of the Sig_structure is sized by the header");
_Static_assert(sizeof(((struct revocations *)0)->revocations_revocation_m) /
			       sizeof(struct revocation) ==
		       UC_MAX_UPDATE_ITEMS,
	       "the CDDL repeats this limit");

struct update {
	struct uc_cose_signed message;
	struct update_claims claims;
};

static bool update_decode(const uint8_t *data, size_t len,
			  struct update *update)
{
	const struct uc_bytes *encoded = &update->message.payload;
	const struct update_claims *claims = &update->claims;
	size_t taken = 0;

	if (len == 0 || len > UC_MAX_UPDATE_BYTES ||
	    !uc_cose_signed_decode(data, len, &update->message))
		return false;
	if (cbor_decode_update_claims(encoded->data, encoded->len,
				      &update->claims, &taken) != 0 ||
	    taken != encoded->len)
		return false;
	if (!uc_cose_extensions_in_order(
		    &claims->update_claims_extension_key
			     ->update_claims_extension_key_key,
		    sizeof(*claims->update_claims_extension_key),
		    claims->update_claims_extension_key_count))
		return false;
	return claims->update_claims_update_version_m_present ||
	       !(claims->update_claims_revocations_m_present ||
		 claims->update_claims_floors_m_present ||
		 claims->update_claims_successor_m_present);
}

static struct uc_state_entry *make_provider(struct uc_state *state,
					    const uint8_t key_id[32],
					    const uint8_t line[32])
{
	static const uint8_t no_line[32];
	uint8_t name[32] = {0};

	if (!uc_state_name(UC_STATE_PROVIDER, no_line, key_id, 32, name))
		return NULL;
	return uc_state_make(state, UC_STATE_PROVIDER, name, line);
}

static struct uc_state_entry *make_model(struct uc_state *state,
					 const uint8_t line[32],
					 const uint8_t *model_id)
{
	uint8_t name[32] = {0};

	if (!uc_state_name(UC_STATE_MODEL, line, model_id, UC_MODEL_ID_BYTES,
			   name))
		return NULL;
	return uc_state_make(state, UC_STATE_MODEL, name, line);
}

static void raise(uint32_t *number, uint32_t to)
{
	if (*number < to)
		*number = to;
}

static void raise_time(const struct uc_state *state,
		       struct uc_state_entry *provider, uint64_t time_s)
{
	provider->flags |= UC_STATE_TOLD_TIME;
	if (time_s <= uc_state_time(state, provider))
		return;
	provider->time_s = time_s;
	provider->clock_ms = state->clock_ms;
}

static bool take_revocations(struct uc_state *state, const uint8_t line[32],
			     const struct revocations *list,
			     const uint8_t device_id[32])
{
	for (size_t i = 0; i < list->revocations_revocation_m_count; i++) {
		const struct revocation *item =
			&list->revocations_revocation_m[i];
		struct uc_state_entry *model = NULL;

		if (item->revocation_device_id_m_present &&
		    !uc_bytes_equal(item->revocation_device_id_m.value,
				    device_id, UC_KEY_ID_BYTES))
			continue;
		model = make_model(state, line,
				   item->revocation_model_id_m.value);
		if (!model)
			return false;
		raise(&model->limit, item->revocation_issued_before_m);
	}
	return true;
}

static bool take_floors(struct uc_state *state, const uint8_t line[32],
			const struct floors *list)
{
	for (size_t i = 0; i < list->floors_floor_m_count; i++) {
		const struct floor *item = &list->floors_floor_m[i];
		struct uc_state_entry *model =
			make_model(state, line, item->floor_model_id_m.value);

		if (!model)
			return false;
		raise(&model->number, item->floor_model_version_m);
	}
	return true;
}

static enum uc_status take_successor(struct uc_state *state,
				     struct uc_state_entry *provider,
				     const struct successor *successor)
{
	const uint8_t *key = successor->successor_ed25519_key_m
				     .ed25519_key_x_coordinate_m.value;
	uint8_t key_id[UC_KEY_ID_BYTES] = {0};
	struct uc_state_entry *next = NULL;

	if (!uc_cose_key_id(UC_COSE_ED25519, key, key_id))
		return UC_ST_INTERNAL;
	next = make_provider(state, key_id, provider->line);
	if (!next)
		return UC_ST_STATE_FULL;
	if (next == provider ||
	    memcmp(next->line, provider->line, sizeof(next->line)) != 0)
		return UC_ST_UNTRUSTED_PROVIDER;
	next->flags |= UC_STATE_TRUSTED;
	raise(&next->number, provider->number);
	raise_time(state, next, uc_state_time(state, provider));
	if (successor->successor_retire_m != 0)
		provider->flags |= UC_STATE_RETIRED;
	return UC_ST_OK;
}

static enum uc_status take_claims(struct uc_state *state,
				  const struct update *update,
				  const uint8_t device_id[32],
				  struct uc_state_entry *provider)
{
	const struct update_claims *claims = &update->claims;
	const uint8_t *line = provider->line;

	raise_time(state, provider, claims->update_claims_issued_at_m);
	if (claims->update_claims_update_version_m_present)
		raise(&provider->number,
		      claims->update_claims_update_version_m
			      .update_claims_update_version_m);
	if (claims->update_claims_revocations_m_present &&
	    !take_revocations(state, line,
			      &claims->update_claims_revocations_m
				       .update_claims_revocations_m,
			      device_id))
		return UC_ST_STATE_FULL;
	if (claims->update_claims_floors_m_present &&
	    !take_floors(
		    state, line,
		    &claims->update_claims_floors_m.update_claims_floors_m))
		return UC_ST_STATE_FULL;
	if (claims->update_claims_successor_m_present)
		return take_successor(state, provider,
				      &claims->update_claims_successor_m
					       .update_claims_successor_m);
	return UC_ST_OK;
}

enum uc_status uc_update_take(const uint8_t *data, size_t len,
			      struct uc_state *state, uint32_t *detail)
{
	struct update update = {0};
	struct uc_state_entry *provider = NULL;
	uint8_t key_id[UC_KEY_ID_BYTES] = {0};
	uint8_t device_id[UC_KEY_ID_BYTES] = {0};
	uint8_t line[UC_KEY_ID_BYTES] = {0};
	uint32_t version = 0;
	enum uc_status status = UC_ST_OK;

	*detail = 0;
	if (!update_decode(data, len, &update))
		return UC_ST_BAD_UPDATE;
	if (!uc_cose_key_id(UC_COSE_ED25519, update.message.public_key, key_id))
		return UC_ST_INTERNAL;
	if (!uc_state_trusts(state, key_id, update.message.public_key))
		return UC_ST_UNTRUSTED_PROVIDER;
	if (!uc_cose_signed_verify(&update.message))
		return UC_ST_NOT_AUTHENTIC;
	if (!state->loaded || !uc_device_id(device_id))
		return UC_ST_STORAGE;
	version = update.claims.update_claims_update_version_m
			  .update_claims_update_version_m;
	provider = uc_state_provider(state, key_id);
	if (update.claims.update_claims_update_version_m_present && provider &&
	    version < provider->number) {
		*detail = provider->number;
		return UC_ST_OUTDATED_UPDATE;
	}
	memcpy(line, uc_state_line(state, key_id), sizeof(line));
	provider = make_provider(state, key_id, line);
	if (!provider)
		return UC_ST_STATE_FULL;
	status = take_claims(state, &update, device_id, provider);
	if (status == UC_ST_OK && !uc_state_save_all(state))
		status = UC_ST_STORAGE;
	return status;
}
