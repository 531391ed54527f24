/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "key_object.h"

static TEE_Result open_stored(const struct uc_key_object *object,
			      TEE_ObjectHandle *key)
{
	return TEE_OpenPersistentObject(TEE_STORAGE_PRIVATE, object->name,
					strlen(object->name), object->flags,
					key);
}

static TEE_Result create(const struct uc_key_object *object)
{
	TEE_ObjectHandle fresh = TEE_HANDLE_NULL;
	TEE_ObjectHandle stored = TEE_HANDLE_NULL;
	TEE_Result result = TEE_ERROR_GENERIC;

	result =
		TEE_AllocateTransientObject(object->type, object->bits, &fresh);
	if (result == TEE_SUCCESS)
		result = TEE_GenerateKey(fresh, object->bits, NULL, 0);
	/* Without the overwrite flag: a key that is there is never replaced. */
	if (result == TEE_SUCCESS)
		result = TEE_CreatePersistentObject(
			TEE_STORAGE_PRIVATE, object->name, strlen(object->name),
			TEE_DATA_FLAG_ACCESS_READ, fresh, NULL, 0, &stored);
	TEE_CloseObject(stored);
	TEE_FreeTransientObject(fresh);
	return result;
}

TEE_ObjectHandle uc_key_object_open(const struct uc_key_object *object)
{
	TEE_ObjectHandle key = TEE_HANDLE_NULL;
	TEE_Result result = open_stored(object, &key);

	if (result == TEE_ERROR_ITEM_NOT_FOUND) {
		result = create(object);
		/* What counts is what storage holds, so it is read back. */
		if (result == TEE_SUCCESS)
			result = open_stored(object, &key);
	}
	return result == TEE_SUCCESS ? key : TEE_HANDLE_NULL;
}
