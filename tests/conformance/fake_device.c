// SPDX-License-Identifier: Apache-2.0
#include "fake_device.h"

#include <openssl/evp.h>

#include "uc_port.h"

uint8_t fake_device_key[32];

bool uc_port_device_public_key(uint8_t public_key[32])
{
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL,
						     fake_device_key, 32);
	size_t len = 32;
	bool ok =
		key && EVP_PKEY_get_raw_public_key(key, public_key, &len) == 1;

	EVP_PKEY_free(key);
	return ok;
}

bool uc_port_device_dh(const uint8_t peer[32], uint8_t shared[32])
{
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL,
						     fake_device_key, 32);
	EVP_PKEY *other =
		EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, peer, 32);
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
	size_t len = 32;
	bool ok = context && other && EVP_PKEY_derive_init(context) == 1 &&
		  EVP_PKEY_derive_set_peer(context, other) == 1 &&
		  EVP_PKEY_derive(context, shared, &len) == 1 && len == 32;

	EVP_PKEY_CTX_free(context);
	EVP_PKEY_free(other);
	EVP_PKEY_free(key);
	return ok;
}

void uc_port_device_keep(void)
{
}

bool uc_port_device_forget(void)
{
	return false;
}
