/* SPDX-License-Identifier: Apache-2.0 */
#include "help_rpmb.h"

#include <string.h>

#include "uc_port.h"
#include "uc_state.h"

struct fake_rpmb *help_rpmb;

bool __real_uc_port_state_load(uint8_t *data, size_t len);
bool __wrap_uc_port_state_load(uint8_t *data, size_t len);
bool __real_uc_port_state_store(const uint8_t *data, size_t offset, size_t len);
bool __wrap_uc_port_state_store(const uint8_t *data, size_t offset, size_t len);

bool __wrap_uc_port_state_load(uint8_t *data, size_t len)
{
	uint8_t digest[32] = {0};

	if (!__real_uc_port_state_load(data, len))
		return false;
	if (!help_rpmb)
		return true;
	if (!help_rpmb->is_written) {
		for (size_t i = 0; i < len; i++) {
			if (data[i] != 0)
				return false;
		}
		return true;
	}
	return uc_port_sha256(data, len, digest) &&
	       memcmp(digest, help_rpmb->digest, sizeof(digest)) == 0;
}

bool __wrap_uc_port_state_store(const uint8_t *data, size_t offset, size_t len)
{
	static uint8_t whole[UC_STATE_BYTES];

	if (!__real_uc_port_state_store(data, offset, len))
		return false;
	if (!help_rpmb)
		return true;
	help_rpmb->is_written = true;
	return __real_uc_port_state_load(whole, sizeof(whole)) &&
	       uc_port_sha256(whole, sizeof(whole), help_rpmb->digest);
}
