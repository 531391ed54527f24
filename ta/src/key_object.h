/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UC_KEY_OBJECT_H
#define UC_KEY_OBJECT_H

#include <tee_internal_api.h>

/* A key pair in secure storage that is made inside the TA when it is first
 * needed, and never replaced. */
struct uc_key_object {
	const char *name;
	uint32_t type; /* TEE_TYPE_..._KEYPAIR */
	uint32_t bits;
	uint32_t flags; /* TEE_DATA_FLAG_... to open it with */
};

/* The caller closes the handle; TEE_HANDLE_NULL when storage fails. */
TEE_ObjectHandle uc_key_object_open(const struct uc_key_object *object);

#endif /* UC_KEY_OBJECT_H */
