// SPDX-License-Identifier: Apache-2.0
/*
 * For programs that link the engine's license code and never call it. What one
 * does call it defines itself.
 */
#pragma weak uc_port_device_public_key
#pragma weak uc_port_device_dh
#pragma weak uc_port_device_keep
#pragma weak uc_port_device_forget

#include "uc_port.h"

bool uc_port_device_public_key(uint8_t public_key[32])
{
	(void)public_key;
	return false;
}

bool uc_port_device_dh(const uint8_t peer[32], uint8_t shared[32])
{
	(void)peer;
	(void)shared;
	return false;
}

void uc_port_device_keep(void)
{
}

bool uc_port_device_forget(void)
{
	return false;
}

bool uc_port_provider_trusted(const uint8_t key_id[32],
			      const uint8_t public_key[32])
{
	(void)key_id;
	(void)public_key;
	return false;
}

bool uc_port_state_load(uint8_t *data, size_t len)
{
	(void)data;
	(void)len;
	return false;
}

bool uc_port_state_store(const uint8_t *data, size_t offset, size_t len)
{
	(void)data;
	(void)offset;
	(void)len;
	return false;
}

void uc_port_state_end(void)
{
}

bool uc_port_clock_ms(uint64_t *clock_ms)
{
	*clock_ms = 1;
	return true;
}
