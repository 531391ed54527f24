/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may open models in this build. uc_policy.h is written by
 * tools/policy.py when the TA is built.
 */
#include <string.h>

#include "uc_policy.h"
#include "uc_port.h"
#include "uc_spec.h"

#ifdef UC_RELEASE
#define BUILD 1U
_Static_assert(UC_PROVIDER_COUNT > 0, "a release build names its providers");
#else
#define BUILD 0U
#endif

uint32_t uc_port_build(void)
{
	return BUILD;
}

#ifdef UC_RELEASE
static bool is_test_key(const uint8_t *key_id)
{
	for (size_t i = 0; i < UC_TEST_KEY_COUNT; i++) {
		if (memcmp(uc_test_key_ids[i], key_id, UC_KEY_ID_BYTES) == 0)
			return true;
	}
	return false;
}
#endif

/* Both arguments are public, so the comparisons may take any time. */
bool uc_port_provider_trusted(const uint8_t key_id[32],
			      const uint8_t public_key[32])
{
#ifdef UC_RELEASE
	if (is_test_key(key_id))
		return false;
	for (size_t i = 0; i < UC_PROVIDER_COUNT; i++) {
		if (memcmp(uc_providers[i].key_id, key_id, UC_KEY_ID_BYTES) ==
			    0 &&
		    memcmp(uc_providers[i].public_key, public_key, 32) == 0)
			return true;
	}
	return false;
#else
	(void)key_id;
	(void)public_key;
	return true;
#endif
}
