/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Storage is opened and written by system calls, because libutee ends the TA, with
 * every session in it, at an error that is none of the few it knows. A client that
 * is killed while the TEE supplicant works for it makes such an error, and a
 * supplicant may answer anything. A handle of libutee is the object's number in
 * OP-TEE.
 */
#include <string.h>
#include <utee_syscalls.h>

#include "key_object.h"

static TEE_Result open_stored(const struct uc_key_object *object,
			      TEE_ObjectHandle *key)
{
	uint32_t number = 0;
	TEE_Result result = _utee_storage_obj_open(
		TEE_STORAGE_PRIVATE, object->name, strlen(object->name),
		object->flags, &number);

	if (result == TEE_SUCCESS)
		*key = (TEE_ObjectHandle)(uintptr_t)number;
	return result;
}

static TEE_Result create(const struct uc_key_object *object)
{
	TEE_ObjectHandle fresh = TEE_HANDLE_NULL;
	uint32_t stored = 0;
	TEE_Result result = TEE_ERROR_GENERIC;

	result =
		TEE_AllocateTransientObject(object->type, object->bits, &fresh);
	if (result == TEE_SUCCESS)
		result = TEE_GenerateKey(fresh, object->bits, NULL, 0);
	/* Without the overwrite flag: a key that is there is never replaced. */
	if (result == TEE_SUCCESS)
		result = _utee_storage_obj_create(
			TEE_STORAGE_PRIVATE, object->name, strlen(object->name),
			TEE_DATA_FLAG_ACCESS_READ, (uintptr_t)fresh, NULL, 0,
			&stored);
	if (result == TEE_SUCCESS)
		(void)_utee_cryp_obj_close(stored);
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
