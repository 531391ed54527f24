/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header and license as the normal world may send them. Every other input is
 * taken as if its signatures were right, so that what lies behind them is
 * reached as well. On failure nothing of a key may be left.
 */
#include <string.h>

#include "help_check.h"
#include "help_fuzz.h"
#include "help_model.h"
#include "port_host.h"

/* The other fuzzers wrap it. */
enum uc_status __real_uc_model_open(const uint8_t *header, size_t header_len,
				    const uint8_t *license, size_t license_len,
				    struct uc_state *state,
				    struct uc_opened_model *opened,
				    uint32_t *detail);

/* The device that the seeds were licensed to (tests/fuzz/run.py). */
static uint8_t device_key[32];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_bytes bytes = {data, len};
	uint8_t flags = fuzz_u8(&bytes);
	size_t header_len = fuzz_u16(&bytes);
	static struct uc_port_host_state kept = {.stores_left = -1};
	static struct uc_state state;
	uint32_t detail = 0;
	struct uc_opened_model opened;
	static const struct uc_opened_model nothing;
	enum uc_status status = UC_ST_OK;
	uint8_t *header = NULL;
	uint8_t *license = NULL;

	if (header_len > bytes.len)
		header_len = bytes.len;
	/* Copies of exact size, so that reading past the end is seen. */
	header = malloc(header_len + 1);
	license = malloc(bytes.len - header_len + 1);
	CHECK(header && license);
	memcpy(header, bytes.data, header_len);
	memcpy(license, bytes.data + header_len, bytes.len - header_len);
	header = realloc(header, header_len ? header_len : 1);
	license = realloc(license,
			  bytes.len - header_len ? bytes.len - header_len : 1);
	CHECK(header && license);

	memset(device_key, 0x44, sizeof(device_key));
	uc_port_host_use_device(device_key);
	uc_port_host_use_state(&kept);
	CHECK(uc_state_load(&state));
	fuzz_signatures_hold = flags & 1;
	memset(&opened, 0x55, sizeof(opened));
	status = __real_uc_model_open(header, header_len, license,
				      bytes.len - header_len, &state, &opened,
				      &detail);
	fuzz_signatures_hold = false;
	if (status == UC_ST_OK) {
		fuzz_count_deep();
		CHECK(opened.page_bytes >= UC_MIN_PAGE_BYTES &&
		      opened.page_bytes <= UC_MAX_PAGE_BYTES);
		CHECK(opened.program_pages >= 1 &&
		      opened.program_pages <= UC_MAX_PROGRAM_PAGES);
	} else {
		CHECK(memcmp(&opened, &nothing, sizeof(opened)) == 0);
	}
	free(header);
	free(license);
	return 0;
}
