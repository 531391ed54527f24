/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device's identity, one object in secure storage: the X25519 key pair, and
 * as its data stream what the device keeps of licenses. One object, because
 * OP-TEE removes an object whose file was changed or taken away and then knows
 * nothing of it: an object of counters alone could be reset that way. Like
 * this the key goes with the counters, and no license fits any more.
 *
 * The key pair is made inside the TA when it is first needed,
 * kept in OP-TEE's secure storage for this TA alone. The private key is used
 * by handle and is never read, not even into this TA's own memory.
 *
 * Secure storage lies in the normal world, encrypted and authenticated below
 * the device's unique key. Whoever deletes it makes the device a new one, to
 * which no license fits; that is loss of service, which root can cause anyway.
 */
#include <string.h>
#include <tee_internal_api.h>
#include <utee_syscalls.h>

#include "key_object.h"
#include "uc_port.h"
#include "uc_state.h"

#define X25519_BITS 256U
#define X25519_BYTES 32U

static const struct uc_key_object device_key_object = {
	.name = "device-key-x25519-v1",
	.type = TEE_TYPE_X25519_KEYPAIR,
	.bits = X25519_BITS,
	.flags = TEE_DATA_FLAG_ACCESS_READ | TEE_DATA_FLAG_ACCESS_WRITE,
};

/*
 * Open while a command runs and no longer: opening it costs as much as a third
 * of all else that OPEN does, but a handle that outlives the TEE supplicant
 * reads what it must take for damage.
 */
static TEE_ObjectHandle identity;

/* A copy of its key pair, in OP-TEE's memory: it needs nothing of the normal world
 * and outlives commands. */
static TEE_ObjectHandle copy;

/* TEE_HANDLE_NULL when storage fails. */
static TEE_ObjectHandle device_key(void)
{
	if (identity == TEE_HANDLE_NULL)
		identity = uc_key_object_open(&device_key_object);
	return identity;
}

void uc_port_state_end(void)
{
	TEE_CloseObject(identity);
	identity = TEE_HANDLE_NULL;
}

/* What this command has opened comes first: it belongs to the state. */
static TEE_ObjectHandle key_at_hand(void)
{
	return identity == TEE_HANDLE_NULL && copy != TEE_HANDLE_NULL
		       ? copy
		       : device_key();
}

void uc_port_device_keep(void)
{
	TEE_ObjectHandle fresh = TEE_HANDLE_NULL;

	if (identity == TEE_HANDLE_NULL || copy != TEE_HANDLE_NULL ||
	    TEE_AllocateTransientObject(TEE_TYPE_X25519_KEYPAIR, X25519_BITS,
					&fresh) != TEE_SUCCESS)
		return;
	/* A handle of libutee is the object's number in OP-TEE. */
	if (_utee_cryp_obj_copy((uintptr_t)fresh, (uintptr_t)identity) ==
	    TEE_SUCCESS)
		copy = fresh;
	else
		TEE_FreeTransientObject(fresh);
}

bool uc_port_device_forget(void)
{
	bool was_there = copy != TEE_HANDLE_NULL;

	TEE_FreeTransientObject(copy);
	copy = TEE_HANDLE_NULL;
	return was_there;
}

bool uc_port_device_public_key(uint8_t public_key[32])
{
	TEE_ObjectHandle key = key_at_hand();
	size_t len = X25519_BYTES;

	return key != TEE_HANDLE_NULL &&
	       TEE_GetObjectBufferAttribute(key, TEE_ATTR_X25519_PUBLIC_VALUE,
					    public_key, &len) == TEE_SUCCESS &&
	       len == X25519_BYTES;
}

/*
 * By system calls, because TEE_DeriveKey() ends the TA when the peer's point is
 * of small order, and that point comes with the license, from anybody.
 */
static TEE_Result derive(TEE_ObjectHandle key, const uint8_t *peer,
			 uint8_t *shared)
{
	struct utee_attribute peer_value = {
		.a = (uintptr_t)peer,
		.b = X25519_BYTES,
		.attribute_id = TEE_ATTR_X25519_PUBLIC_VALUE,
	};
	uint64_t len = X25519_BYTES;
	uint32_t own = 0;
	uint32_t operation = 0;
	uint32_t secret = 0;
	TEE_Result result = TEE_ERROR_GENERIC;

	result = _utee_cryp_obj_alloc(TEE_TYPE_X25519_KEYPAIR, X25519_BITS,
				      &own);
	if (result != TEE_SUCCESS)
		return result;
	/* A handle of libutee is the object's number in OP-TEE. */
	result = _utee_cryp_obj_copy(own, (uintptr_t)key);
	if (result == TEE_SUCCESS)
		result = _utee_cryp_state_alloc(TEE_ALG_X25519, TEE_MODE_DERIVE,
						own, 0, &operation);
	if (result != TEE_SUCCESS) {
		(void)_utee_cryp_obj_close(own);
		return result;
	}
	result = _utee_cryp_obj_alloc(TEE_TYPE_GENERIC_SECRET, X25519_BITS,
				      &secret);
	if (result == TEE_SUCCESS) {
		result = _utee_cryp_derive_key(operation, &peer_value, 1,
					       secret);
		if (result == TEE_SUCCESS)
			result = _utee_cryp_obj_get_attr(
				secret, TEE_ATTR_SECRET_VALUE, shared, &len);
		if (result == TEE_SUCCESS && len != X25519_BYTES)
			result = TEE_ERROR_GENERIC;
		(void)_utee_cryp_obj_close(secret);
	}
	/* Ends the copy of the key as well. */
	(void)_utee_cryp_state_free(operation);
	return result;
}

bool uc_port_device_dh(const uint8_t peer[32], uint8_t shared[32])
{
	TEE_ObjectHandle key = key_at_hand();
	TEE_Result result = TEE_ERROR_GENERIC;
	uint8_t any_bit = 0;

	memset(shared, 0, X25519_BYTES);
	if (key == TEE_HANDLE_NULL)
		return false;
	result = derive(key, peer, shared);
	for (size_t i = 0; i < X25519_BYTES; i++)
		any_bit |= shared[i];
	if (result != TEE_SUCCESS || any_bit == 0) {
		uc_port_wipe(shared, X25519_BYTES);
		return false;
	}
	return true;
}

/* By system calls, for the reason that key_object.c gives. */
static bool seek(TEE_ObjectHandle key, size_t offset)
{
	return _utee_storage_obj_seek((uintptr_t)key, (int32_t)offset,
				      TEE_DATA_SEEK_SET) == TEE_SUCCESS;
}

static bool write(TEE_ObjectHandle key, size_t offset, const uint8_t *data,
		  size_t len)
{
	return seek(key, offset) &&
	       _utee_storage_obj_write((uintptr_t)key, (void *)(uintptr_t)data,
				       len) == TEE_SUCCESS;
}

bool uc_port_state_load(uint8_t *data, size_t len)
{
	TEE_ObjectHandle key = device_key();
	uint64_t count = len;
	bool good = false;

	memset(data, 0, len);
	if (key == TEE_HANDLE_NULL)
		return false;
	good = seek(key, 0) && _utee_storage_obj_read((uintptr_t)key, data, len,
						      &count) == TEE_SUCCESS;
	/* Nothing at all before the first store, which writes to the end. */
	if (good && (count == len || count == 0))
		return true;
	uc_port_state_end();
	return false;
}

bool uc_port_state_store(const uint8_t *data, size_t offset, size_t len)
{
	static const uint8_t zero;
	TEE_ObjectHandle key = device_key();
	TEE_ObjectInfo info = {0};
	bool good = false;

	if (key == TEE_HANDLE_NULL)
		return false;
	good = TEE_GetObjectInfo1(key, &info) == TEE_SUCCESS;
	/* A byte far out makes all before it zero. */
	if (good && info.dataSize < UC_STATE_BYTES)
		good = write(key, UC_STATE_BYTES - 1, &zero, 1);
	/* Each write is atomic: OP-TEE writes new blocks and a new tree of
	 * hashes, and then the one block that names them. */
	good = good && write(key, offset, data, len);
	if (!good)
		uc_port_state_end();
	return good;
}

/*
 * From the counter that the secure world reads itself where OP-TEE is built
 * with CFG_SECURE_TIME_SOURCE_CNTPCT; with _REE it would be the normal world's.
 */
bool uc_port_clock_ms(uint64_t *clock_ms)
{
	TEE_Time now = {0};

	TEE_GetSystemTime(&now);
	*clock_ms = (uint64_t)now.seconds * 1000U + now.millis;
	return true;
}
