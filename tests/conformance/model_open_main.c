// SPDX-License-Identifier: Apache-2.0
/*
 * Calls uc_model_open() on what comes in, with a fake device whose key the
 * caller chooses. Standard input: the device's X25519 private key (32 bytes),
 * an Ed25519 public key (32 bytes), then any number of requests; standard output: an answer to each. The device
 * has never seen anything when a request begins. Before its header and license
 * it may take updates, and begin inferences under them.
 *
 * request: u8 trusted (0: no provider, 1: all, 2: the key above; 0x80 more: and
 *          the device cannot read its storage), u32 updates, u32 inferences, u32 header_len,
 *          u32 license_len; for each update u32 update_len and the update;
 *          header and license. Without a header the last update is answered.
 * answer:  u32 detail, u32 status, 32 page_key, 16 model_id, u32 x 7: model_version, suite,
 *          page_bytes, program_pages, resident_pages, streamed_pages, budget
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_device.h"
#include "uc_license.h"
#include "uc_port.h"

static uint8_t trusted_key[32];
static uint8_t fake_trust;
static bool fake_damage;
static uint8_t fake_state[UC_STATE_BYTES];

bool uc_port_provider_trusted(const uint8_t key_id[32],
			      const uint8_t public_key[32])
{
	(void)key_id;
	return fake_trust == 1 ||
	       (fake_trust == 2 && memcmp(public_key, trusted_key, 32) == 0);
}

bool uc_port_state_load(uint8_t *data, size_t len)
{
	memcpy(data, fake_state, len);
	return !fake_damage;
}

bool uc_port_state_store(const uint8_t *data, size_t offset, size_t len)
{
	memcpy(fake_state + offset, data, len);
	return true;
}

void uc_port_state_end(void)
{
}

bool uc_port_clock_ms(uint64_t *clock_ms)
{
	*clock_ms = 1000;
	return true;
}

static bool take(void *data, size_t len)
{
	return fread(data, 1, len, stdin) == len;
}

/* Of exactly len bytes, so that a sanitizer sees any byte read beyond. */
static uint8_t *take_block(uint32_t len)
{
	uint8_t *block = malloc(len ? len : 1);

	if (!block || !take(block, len))
		exit(2);
	return block;
}

static void answer(uint32_t status, uint32_t detail,
		   const struct uc_opened_model *opened)
{
	const uint32_t numbers[] = {
		opened->model_version,	opened->suite,
		opened->page_bytes,	opened->program_pages,
		opened->resident_pages, opened->streamed_pages,
		opened->budget_bytes,
	};

	fwrite(&detail, sizeof(detail), 1, stdout);
	fwrite(&status, sizeof(status), 1, stdout);
	fwrite(opened->page_key, sizeof(opened->page_key), 1, stdout);
	fwrite(opened->model_id, sizeof(opened->model_id), 1, stdout);
	fwrite(numbers, sizeof(numbers), 1, stdout);
}

static uint32_t take_updates(uint32_t count, uint32_t *detail)
{
	static struct uc_state state;
	uint32_t status = UC_ST_OK;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t len = 0;
		uint8_t *update = NULL;

		if (!take(&len, sizeof(len)))
			exit(2);
		update = take_block(len);
		(void)uc_state_load(&state);
		status = uc_update_take(update, len, &state, detail);
		free(update);
	}
	return status;
}

/* Begin inferences, as INFER does; the first that is refused is answered. */
static uint32_t begin(struct uc_opened_model *opened, uint32_t count,
		      uint32_t *detail)
{
	static struct uc_state state;
	struct uc_permit permit = {.terms = opened->terms};
	uint32_t status = UC_ST_OK;

	for (uint32_t i = 0; status == UC_ST_OK && i < count; i++)
		status = uc_permit_take(&permit, &state, 0, detail);
	if (status != UC_ST_OK)
		memset(opened, 0, sizeof(*opened));
	return status;
}

struct request {
	uint32_t updates, inferences, header_len, license_len;
};

static void open_one(const struct request *request)
{
	static struct uc_state state;
	struct uc_opened_model opened;
	uint8_t *header = NULL;
	uint8_t *license = NULL;
	uint32_t detail = 0;
	uint32_t status = UC_ST_OK;

	memset(fake_state, 0, sizeof(fake_state));
	status = take_updates(request->updates, &detail);
	header = take_block(request->header_len);
	license = take_block(request->license_len);
	if (request->updates != 0 && request->header_len == 0) {
		memset(&opened, 0, sizeof(opened));
	} else {
		memset(&opened, 0xA5, sizeof(opened));
		(void)uc_state_load(&state);
		status = uc_model_open(header, request->header_len, license,
				       request->license_len, &state, &opened,
				       &detail);
		if (status == UC_ST_OK)
			status = begin(&opened, request->inferences, &detail);
	}
	answer(status, detail, &opened);
	free(header);
	free(license);
}

int main(void)
{
	uint8_t trusted = 0;

	if (!take(fake_device_key, sizeof(fake_device_key)) ||
	    !take(trusted_key, sizeof(trusted_key)))
		return 2;
	while (take(&trusted, sizeof(trusted))) {
		struct request request = {0};

		if (!take(&request, sizeof(request)))
			return 2;
		fake_trust = trusted & 0x7F;
		fake_damage = (trusted & 0x80) != 0;
		open_one(&request);
	}
	return fflush(stdout) == 0 ? 0 : 2;
}
