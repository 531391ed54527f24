/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What belongs to a device, on the host: a key that the caller gives, a
 * policy that trusts everybody, and a clock. There is no protection here.
 */
#include "port_host.h"

#include <stddef.h>
#include <time.h>

#include <openssl/evp.h>

#include "uc_port.h"

static _Thread_local const uint8_t *device_private_key;

void uc_port_host_use_device(const uint8_t private_key[32])
{
	device_private_key = private_key;
}

static EVP_PKEY *device_key(void)
{
	return device_private_key
		       ? EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL,
						      device_private_key, 32)
		       : NULL;
}

bool uc_port_device_public_key(uint8_t public_key[32])
{
	EVP_PKEY *key = device_key();
	size_t len = 32;
	bool ok = key && EVP_PKEY_get_raw_public_key(key, public_key, &len) &&
		  len == 32;

	EVP_PKEY_free(key);
	return ok;
}

bool uc_port_device_dh(const uint8_t peer[32], uint8_t shared[32])
{
	EVP_PKEY *key = device_key();
	EVP_PKEY *other =
		EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, peer, 32);
	EVP_PKEY_CTX *context = key ? EVP_PKEY_CTX_new(key, NULL) : NULL;
	size_t len = 32;
	/* libcrypto refuses a shared secret that is all zero. */
	bool ok = other && context && EVP_PKEY_derive_init(context) == 1 &&
		  EVP_PKEY_derive_set_peer(context, other) == 1 &&
		  EVP_PKEY_derive(context, shared, &len) == 1 && len == 32;

	EVP_PKEY_CTX_free(context);
	EVP_PKEY_free(other);
	EVP_PKEY_free(key);
	if (!ok)
		uc_port_wipe(shared, 32);
	return ok;
}

bool uc_port_provider_trusted(const uint8_t key_id[32],
			      const uint8_t public_key[32])
{
	(void)key_id;
	(void)public_key;
	return true;
}

uint32_t uc_port_build(void)
{
	return 0;
}

uint64_t uc_port_ticks(void)
{
	struct timespec now = {0};

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * uc_port_tick_hz() + (uint64_t)now.tv_nsec;
}

uint64_t uc_port_tick_hz(void)
{
	return 1000000000U;
}
