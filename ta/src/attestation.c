/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What evidence needs of OP-TEE: the device's Ed25519 key pair, made inside
 * the TA when it is first needed and used by handle alone; what is known of
 * this build; and the attestation pseudo-TA, where OP-TEE has one.
 */
#include <string.h>
#include <pta_attestation.h>
#include <tee_internal_api.h>

#include "key_object.h"
#include "uc_facts.h"
#include "uc_port.h"

#define ED25519_BITS 256U
#define ED25519_KEY_BYTES 32U
#define ED25519_SIGNATURE_BYTES 64U

/* The caller closes the handle; TEE_HANDLE_NULL when storage fails. */
static TEE_ObjectHandle attestation_key(void)
{
	static const struct uc_key_object object = {
		.name = "device-key-ed25519-v1",
		.type = TEE_TYPE_ED25519_KEYPAIR,
		.bits = ED25519_BITS,
		.flags = TEE_DATA_FLAG_ACCESS_READ | TEE_DATA_FLAG_SHARE_READ,
	};

	return uc_key_object_open(&object);
}

bool uc_port_attestation_public_key(uint8_t public_key[32])
{
	TEE_ObjectHandle key = attestation_key();
	size_t len = ED25519_KEY_BYTES;
	bool good = false;

	if (key == TEE_HANDLE_NULL)
		return false;
	good = TEE_GetObjectBufferAttribute(key, TEE_ATTR_ED25519_PUBLIC_VALUE,
					    public_key, &len) == TEE_SUCCESS &&
	       len == ED25519_KEY_BYTES;
	TEE_CloseObject(key);
	return good;
}

bool uc_port_attestation_sign(const uint8_t *message, size_t len,
			      uint8_t signature[64])
{
	TEE_ObjectHandle key = attestation_key();
	TEE_OperationHandle operation = TEE_HANDLE_NULL;
	size_t signature_len = ED25519_SIGNATURE_BYTES;
	TEE_Result result = TEE_ERROR_GENERIC;

	if (key == TEE_HANDLE_NULL)
		return false;
	result = TEE_AllocateOperation(&operation, TEE_ALG_ED25519,
				       TEE_MODE_SIGN, ED25519_BITS);
	if (result == TEE_SUCCESS)
		result = TEE_SetOperationKey(operation, key);
	if (result == TEE_SUCCESS)
		result = TEE_AsymmetricSignDigest(operation, NULL, 0, message,
						  len, signature,
						  &signature_len);
	TEE_FreeOperation(operation);
	TEE_CloseObject(key);
	return result == TEE_SUCCESS &&
	       signature_len == ED25519_SIGNATURE_BYTES;
}

void uc_port_facts(struct uc_port_facts *facts)
{
	static const uint8_t build_id[32] = UC_BUILD_ID;

	facts->hardware_key = UC_HARDWARE_KEY;
	memcpy(facts->build_id, build_id, sizeof(facts->build_id));
}

size_t uc_port_measurement(const uint8_t *nonce, size_t nonce_len, uint8_t *out,
			   size_t room)
{
	static const TEE_UUID uuid = PTA_ATTESTATION_UUID;
	TEE_TASessionHandle session = TEE_HANDLE_NULL;
	TEE_Param params[4] = {0};
	uint32_t origin = 0;
	TEE_Result result = TEE_ERROR_GENERIC;

	if (TEE_OpenTASession(&uuid, TEE_TIMEOUT_INFINITE, 0, NULL, &session,
			      &origin) != TEE_SUCCESS)
		return 0;
	params[0].memref.buffer = (void *)(uintptr_t)nonce;
	params[0].memref.size = nonce_len;
	params[1].memref.buffer = out;
	params[1].memref.size = room;
	result = TEE_InvokeTACommand(
		session, TEE_TIMEOUT_INFINITE, PTA_ATTESTATION_HASH_TA_MEMORY,
		TEE_PARAM_TYPES(TEE_PARAM_TYPE_MEMREF_INPUT,
				TEE_PARAM_TYPE_MEMREF_OUTPUT,
				TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE),
		params, &origin);
	TEE_CloseTASession(session);
	return result == TEE_SUCCESS && params[1].memref.size <= room
		       ? params[1].memref.size
		       : 0;
}
