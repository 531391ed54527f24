/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two updates as the normal world may send them, on a device that knows
 * nothing. Every other input is taken as if its signatures were right. What a
 * device keeps only rises, and one that refuses keeps what it had.
 */
#include <string.h>

#include "help_check.h"
#include "help_fuzz.h"
#include "help_model.h"

static uint8_t device_key[32];
static struct uc_port_host_state kept;
static struct uc_state before, after;

static void check_that_all_rose(void)
{
	for (size_t i = 0; i < UC_STATE_ENTRIES; i++) {
		const struct uc_state_entry *old = &before.entries[i];
		const struct uc_state_entry *new = &after.entries[i];

		if (old->kind == UC_STATE_FREE)
			continue;
		CHECK(memcmp(old->name, new->name, sizeof(old->name)) == 0);
		CHECK(new->kind ==
		      old->kind &&new->number >= old->number &&new->limit >=
			      old->limit &&new->time_s >= old->time_s);
		CHECK((old->flags & ~new->flags) == 0);
	}
}

static void take(const uint8_t *data, size_t len)
{
	static struct uc_state state;
	enum uc_status status = UC_ST_OK;
	uint32_t detail = 0;
	/* A copy of exact size, so that reading past the end is seen. */
	uint8_t *copy = malloc(len ? len : 1);

	CHECK(copy);
	memcpy(copy, data, len);
	CHECK(uc_state_load(&before) && uc_state_load(&state));
	status = uc_update_take(copy, len, &state, &detail);
	CHECK(uc_state_load(&after));
	if (status == UC_ST_OK) {
		fuzz_count_deep();
		check_that_all_rose();
	} else {
		CHECK(memcmp(before.entries, after.entries, UC_STATE_BYTES) ==
		      0);
	}
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_bytes bytes = {data, len};
	uint8_t flags = fuzz_u8(&bytes);
	size_t first = fuzz_u16(&bytes);

	if (first > bytes.len)
		first = bytes.len;
	memset(device_key, 0x44, sizeof(device_key));
	memset(&kept, 0, sizeof(kept));
	kept.stores_left = -1;
	kept.clock_ms = 1000;
	uc_port_host_use_device(device_key);
	uc_port_host_use_state(&kept);
	fuzz_signatures_hold = flags & 1;
	take(bytes.data, first);
	take(bytes.data + first, bytes.len - first);
	fuzz_signatures_hold = false;
	return 0;
}
