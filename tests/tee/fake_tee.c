/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_tee.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <pta_attestation.h>
#include <tee_internal_api.h>
#include <trace.h>
#include <utee_syscalls.h>

#include "registers.h"

#define KEY_BYTES 32U
#define MAX_HANDLES 64U
#define MAX_STORED 4U
#define MAX_STREAM_BYTES 16384U

/* ---- faults ---- */

static uint32_t calls;
static uint32_t fail_at;
static uint32_t fail_code;
static uint32_t fail_goes_on;
static const char *failed = "";
static uint32_t panics;
static uint32_t forgotten;
static uint32_t held;

/* Every call that may fail begins with this. */
static bool fails(const char *name)
{
	calls++;
	if (fail_at == 0 || calls < fail_at)
		return false;
	if (calls > fail_at && !fail_goes_on)
		return false;
	failed = name;
	return true;
}

#define MAY_FAIL()                                                             \
	do {                                                                   \
		if (fails(__func__))                                           \
			return fail_code;                                      \
	} while (0)

void fake_tee_fail(uint32_t nth, uint32_t code, uint32_t goes_on)
{
	calls = 0;
	fail_at = nth;
	fail_code = code;
	fail_goes_on = goes_on;
	failed = "";
}

uint32_t fake_tee_calls(void)
{
	return calls;
}

const char *fake_tee_failed(void)
{
	return failed;
}

uint32_t fake_tee_held(void)
{
	return held;
}

uint32_t fake_tee_panics(void)
{
	return panics;
}

uint32_t fake_tee_forgotten(void)
{
	return forgotten;
}

/* The real one does not return. Here what the caller did wrong is counted. */
void TEE_Panic(TEE_Result code)
{
	fprintf(stderr, "fake TEE: panic 0x%08x\n", code);
	panics++;
}

static void require(bool holds, const char *what)
{
	if (!holds) {
		fprintf(stderr, "fake TEE: %s\n", what);
		TEE_Panic(TEE_ERROR_BAD_PARAMETERS);
	}
}

void uc_ta_forget_registers(void)
{
	forgotten++;
}

int trace_level;
const char trace_ext_prefix[] = "TA";

void trace_printf(const char *func, int line, int level, bool level_ok,
		  const char *format, ...)
{
	(void)func;
	(void)line;
	(void)level;
	(void)level_ok;
	(void)format;
}

/* ---- memory, time, random bytes ---- */

void *TEE_Malloc(size_t size, uint32_t hint)
{
	void *memory = NULL;

	require(hint == TEE_MALLOC_FILL_ZERO, "memory that is not zero");
	if (!fails(__func__))
		memory = calloc(1, size);
	held += memory ? 1 : 0;
	return memory;
}

void TEE_Free(void *memory)
{
	held -= memory ? 1 : 0;
	free(memory);
}

void TEE_GenerateRandom(void *out, size_t len)
{
	require(RAND_bytes(out, (int)len) == 1, "OpenSSL has no random bytes");
}

static uint64_t clock_ms;

void fake_tee_clock(uint64_t milliseconds)
{
	clock_ms = milliseconds;
}

void TEE_GetSystemTime(TEE_Time *time)
{
	time->seconds = (uint32_t)(clock_ms / 1000);
	time->millis = (uint32_t)(clock_ms % 1000);
}

/* ---- objects: a handle is an index into the table, as in OP-TEE ---- */

struct stored {
	char name[32];
	size_t name_len; /* 0: free */
	uint32_t type;
	uint8_t private_key[KEY_BYTES];
	uint8_t public_key[KEY_BYTES];
	uint8_t stream[MAX_STREAM_BYTES];
	size_t stream_len;
};

enum kind { FREE, OBJECT, OPERATION };

struct handle {
	enum kind kind;
	uint32_t type; /* of an object; an operation's algorithm */
	uint32_t mode;
	uint32_t flags;
	struct stored *stored; /* NULL: transient */
	size_t position;       /* in the stream */
	uint8_t private_key[KEY_BYTES];
	uint8_t public_key[KEY_BYTES];
	uint8_t secret[64];
	size_t secret_len;
	uint8_t nonce[12];
	uint8_t aad[256];
	size_t aad_len;
};

static struct handle handles[MAX_HANDLES];
static struct stored storage[MAX_STORED];

static struct handle *at(unsigned long number, enum kind kind)
{
	struct handle *handle = &handles[number % MAX_HANDLES];

	require(number != 0 && number < MAX_HANDLES && handle->kind == kind,
		"a handle that is none");
	return handle;
}

static struct handle *object_of(TEE_ObjectHandle object)
{
	return at((uintptr_t)object, OBJECT);
}

static struct handle *operation_of(TEE_OperationHandle operation)
{
	return at((uintptr_t)operation, OPERATION);
}

/* 0 when there is no room. */
static uint32_t take(enum kind kind, uint32_t type)
{
	for (uint32_t i = 1; i < MAX_HANDLES; i++) {
		if (handles[i].kind == FREE) {
			memset(&handles[i], 0, sizeof(handles[i]));
			handles[i].kind = kind;
			handles[i].type = type;
			held++;
			return i;
		}
	}
	return 0;
}

static void give_back(struct handle *handle)
{
	held -= handle->kind != FREE ? 1 : 0;
	memset(handle, 0, sizeof(*handle));
}

TEE_Result TEE_AllocateTransientObject(TEE_ObjectType type, uint32_t bits,
				       TEE_ObjectHandle *object)
{
	uint32_t number = 0;

	MAY_FAIL();
	require(bits <= 512, "a key that is too long");
	number = take(OBJECT, type);
	*object = (TEE_ObjectHandle)(uintptr_t)number;
	return number ? TEE_SUCCESS : TEE_ERROR_OUT_OF_MEMORY;
}

void TEE_FreeTransientObject(TEE_ObjectHandle object)
{
	if (object == TEE_HANDLE_NULL)
		return;
	require(!object_of(object)->stored, "freed an object of storage");
	give_back(object_of(object));
}

void TEE_CloseObject(TEE_ObjectHandle object)
{
	if (object != TEE_HANDLE_NULL)
		give_back(object_of(object));
}

void TEE_InitRefAttribute(TEE_Attribute *attribute, uint32_t id,
			  const void *buffer, size_t length)
{
	attribute->attributeID = id;
	attribute->content.ref.buffer = (void *)(uintptr_t)buffer;
	attribute->content.ref.length = length;
}

TEE_Result TEE_PopulateTransientObject(TEE_ObjectHandle object,
				       const TEE_Attribute *attributes,
				       uint32_t count)
{
	struct handle *handle = object_of(object);

	MAY_FAIL();
	require(count == 1 &&
			attributes->attributeID == TEE_ATTR_SECRET_VALUE &&
			attributes->content.ref.length <=
				sizeof(handle->secret),
		"attributes of another object");
	handle->secret_len = attributes->content.ref.length;
	memcpy(handle->secret, attributes->content.ref.buffer,
	       handle->secret_len);
	return TEE_SUCCESS;
}

static int openssl_type(uint32_t type)
{
	return type == TEE_TYPE_X25519_KEYPAIR ? EVP_PKEY_X25519
					       : EVP_PKEY_ED25519;
}

TEE_Result TEE_GenerateKey(TEE_ObjectHandle object, uint32_t bits,
			   const TEE_Attribute *params, uint32_t count)
{
	struct handle *handle = object_of(object);
	EVP_PKEY *key = NULL;
	size_t len = KEY_BYTES;

	MAY_FAIL();
	require(bits == 256 && !params && count == 0 &&
			(handle->type == TEE_TYPE_X25519_KEYPAIR ||
			 handle->type == TEE_TYPE_ED25519_KEYPAIR),
		"a key of another type");
	RAND_bytes(handle->private_key, KEY_BYTES);
	key = EVP_PKEY_new_raw_private_key(openssl_type(handle->type), NULL,
					   handle->private_key, KEY_BYTES);
	require(key && EVP_PKEY_get_raw_public_key(key, handle->public_key,
						   &len) == 1,
		"OpenSSL makes no key");
	EVP_PKEY_free(key);
	return TEE_SUCCESS;
}

TEE_Result TEE_GetObjectBufferAttribute(TEE_ObjectHandle object, uint32_t id,
					void *buffer, size_t *size)
{
	struct handle *handle = object_of(object);

	MAY_FAIL();
	require(id == TEE_ATTR_X25519_PUBLIC_VALUE ||
			id == TEE_ATTR_ED25519_PUBLIC_VALUE,
		"an attribute that is not public");
	require(*size >= KEY_BYTES, "a short buffer");
	memcpy(buffer, handle->public_key, KEY_BYTES);
	*size = KEY_BYTES;
	return TEE_SUCCESS;
}

/* ---- storage ---- */

static struct stored *find(const void *name, size_t len)
{
	for (uint32_t i = 0; i < MAX_STORED; i++) {
		if (storage[i].name_len == len &&
		    memcmp(storage[i].name, name, len) == 0)
			return &storage[i];
	}
	return NULL;
}

static TEE_Result opened(struct stored *stored, unsigned long flags,
			 uint32_t *number)
{
	struct handle *handle = NULL;

	*number = take(OBJECT, stored->type);
	if (*number == 0)
		return TEE_ERROR_OUT_OF_MEMORY;
	handle = &handles[*number];
	handle->stored = stored;
	handle->flags = (uint32_t)flags;
	memcpy(handle->private_key, stored->private_key, KEY_BYTES);
	memcpy(handle->public_key, stored->public_key, KEY_BYTES);
	return TEE_SUCCESS;
}

TEE_Result _utee_storage_obj_open(unsigned long storage_id, const void *name,
				  size_t len, unsigned long flags,
				  uint32_t *number)
{
	struct stored *stored = find(name, len);

	MAY_FAIL();
	require(storage_id == TEE_STORAGE_PRIVATE, "another storage");
	return stored ? opened(stored, flags, number)
		      : TEE_ERROR_ITEM_NOT_FOUND;
}

TEE_Result _utee_storage_obj_create(unsigned long storage_id, const void *name,
				    size_t len, unsigned long flags,
				    unsigned long attributes, const void *data,
				    size_t data_len, uint32_t *number)
{
	struct handle *from = at(attributes, OBJECT);
	struct stored *stored = NULL;

	MAY_FAIL();
	require(storage_id == TEE_STORAGE_PRIVATE && !data && data_len == 0 &&
			len < sizeof(stored->name),
		"another object");
	if (find(name, len) && !(flags & TEE_DATA_FLAG_OVERWRITE))
		return TEE_ERROR_ACCESS_CONFLICT;
	for (uint32_t i = 0; i < MAX_STORED && !stored; i++)
		stored = storage[i].name_len == 0 ? &storage[i] : NULL;
	if (!stored)
		return TEE_ERROR_STORAGE_NO_SPACE;
	memcpy(stored->name, name, len);
	stored->name_len = len;
	stored->type = from->type;
	memcpy(stored->private_key, from->private_key, KEY_BYTES);
	memcpy(stored->public_key, from->public_key, KEY_BYTES);
	return opened(stored, flags, number);
}

TEE_Result TEE_GetObjectInfo1(TEE_ObjectHandle object, TEE_ObjectInfo *info)
{
	struct handle *handle = object_of(object);

	MAY_FAIL();
	memset(info, 0, sizeof(*info));
	info->objectType = handle->type;
	info->dataSize = handle->stored ? handle->stored->stream_len : 0;
	info->dataPosition = handle->position;
	return TEE_SUCCESS;
}

TEE_Result _utee_storage_obj_seek(unsigned long number, int32_t offset,
				  unsigned long whence)
{
	struct handle *handle = at(number, OBJECT);

	MAY_FAIL();
	require(whence == TEE_DATA_SEEK_SET && offset >= 0 && handle->stored,
		"a place that is none");
	handle->position = (size_t)offset;
	return TEE_SUCCESS;
}

TEE_Result _utee_storage_obj_read(unsigned long number, void *data, size_t len,
				  uint64_t *count)
{
	struct handle *handle = at(number, OBJECT);
	size_t left = 0;

	MAY_FAIL();
	require(handle->stored && (handle->flags & TEE_DATA_FLAG_ACCESS_READ),
		"an object that must not be read");
	if (handle->position < handle->stored->stream_len)
		left = handle->stored->stream_len - handle->position;
	*count = left < len ? left : len;
	memcpy(data, handle->stored->stream + handle->position, *count);
	handle->position += *count;
	return TEE_SUCCESS;
}

TEE_Result _utee_storage_obj_write(unsigned long number, const void *data,
				   size_t len)
{
	struct handle *handle = at(number, OBJECT);
	size_t end = handle->position + len;

	MAY_FAIL();
	require(handle->stored && (handle->flags & TEE_DATA_FLAG_ACCESS_WRITE),
		"an object that must not be written");
	if (end > MAX_STREAM_BYTES)
		return TEE_ERROR_STORAGE_NO_SPACE;
	memcpy(handle->stored->stream + handle->position, data, len);
	handle->position = end;
	if (handle->stored->stream_len < end)
		handle->stored->stream_len = end;
	return TEE_SUCCESS;
}

/* ---- X25519, by system calls ---- */

TEE_Result _utee_cryp_obj_alloc(unsigned long type, unsigned long bits,
				uint32_t *object)
{
	MAY_FAIL();
	require(bits == 256, "a key of another size");
	*object = take(OBJECT, (uint32_t)type);
	return *object ? TEE_SUCCESS : TEE_ERROR_OUT_OF_MEMORY;
}

TEE_Result _utee_cryp_obj_close(unsigned long object)
{
	give_back(at(object, OBJECT));
	return TEE_SUCCESS;
}

TEE_Result _utee_cryp_obj_copy(unsigned long to, unsigned long from)
{
	MAY_FAIL();
	memcpy(at(to, OBJECT)->private_key, at(from, OBJECT)->private_key,
	       KEY_BYTES);
	return TEE_SUCCESS;
}

TEE_Result _utee_cryp_state_alloc(unsigned long algorithm, unsigned long mode,
				  unsigned long key1, unsigned long key2,
				  uint32_t *state)
{
	struct handle *key = at(key1, OBJECT);

	MAY_FAIL();
	require(algorithm == TEE_ALG_X25519 && mode == TEE_MODE_DERIVE &&
			key2 == 0,
		"another operation");
	*state = take(OPERATION, (uint32_t)algorithm);
	if (*state == 0)
		return TEE_ERROR_OUT_OF_MEMORY;
	/* The key is the operation's from now on. */
	memcpy(handles[*state].private_key, key->private_key, KEY_BYTES);
	give_back(key);
	return TEE_SUCCESS;
}

TEE_Result _utee_cryp_state_free(unsigned long state)
{
	give_back(at(state, OPERATION));
	return TEE_SUCCESS;
}

TEE_Result _utee_cryp_derive_key(unsigned long state,
				 const struct utee_attribute *params,
				 unsigned long count, unsigned long secret)
{
	struct handle *operation = at(state, OPERATION);
	struct handle *out = at(secret, OBJECT);
	EVP_PKEY *own = NULL;
	EVP_PKEY *peer = NULL;
	EVP_PKEY_CTX *context = NULL;
	bool good = false;

	MAY_FAIL();
	require(count == 1 &&
			params->attribute_id == TEE_ATTR_X25519_PUBLIC_VALUE &&
			params->b == KEY_BYTES,
		"another peer");
	out->secret_len = KEY_BYTES;
	own = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL,
					   operation->private_key, KEY_BYTES);
	peer = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL,
					   (const void *)(uintptr_t)params->a,
					   KEY_BYTES);
	context = EVP_PKEY_CTX_new(own, NULL);
	good = context && EVP_PKEY_derive_init(context) == 1 &&
	       EVP_PKEY_derive_set_peer(context, peer) == 1 &&
	       EVP_PKEY_derive(context, out->secret, &out->secret_len) == 1;
	EVP_PKEY_CTX_free(context);
	EVP_PKEY_free(peer);
	EVP_PKEY_free(own);
	return good ? TEE_SUCCESS : TEE_ERROR_BAD_PARAMETERS;
}

TEE_Result _utee_cryp_obj_get_attr(unsigned long object, unsigned long id,
				   void *buffer, uint64_t *size)
{
	struct handle *handle = at(object, OBJECT);

	MAY_FAIL();
	require(id == TEE_ATTR_SECRET_VALUE && *size >= handle->secret_len,
		"another attribute");
	*size = handle->secret_len;
	memcpy(buffer, handle->secret, handle->secret_len);
	return TEE_SUCCESS;
}

/* ---- operations ---- */

TEE_Result TEE_AllocateOperation(TEE_OperationHandle *operation,
				 uint32_t algorithm, uint32_t mode,
				 uint32_t bits)
{
	uint32_t number = 0;

	(void)bits;
	MAY_FAIL();
	number = take(OPERATION, algorithm);
	handles[number].mode = mode;
	*operation = (TEE_OperationHandle)(uintptr_t)number;
	return number ? TEE_SUCCESS : TEE_ERROR_OUT_OF_MEMORY;
}

void TEE_FreeOperation(TEE_OperationHandle operation)
{
	if (operation != TEE_HANDLE_NULL)
		give_back(operation_of(operation));
}

TEE_Result TEE_SetOperationKey(TEE_OperationHandle operation,
			       TEE_ObjectHandle key)
{
	struct handle *handle = operation_of(operation);
	struct handle *from = object_of(key);

	MAY_FAIL();
	memcpy(handle->private_key, from->private_key, KEY_BYTES);
	memcpy(handle->secret, from->secret, sizeof(handle->secret));
	handle->secret_len = from->secret_len;
	return TEE_SUCCESS;
}

TEE_Result TEE_DigestDoFinal(TEE_OperationHandle operation, const void *data,
			     size_t len, void *digest, size_t *digest_len)
{
	unsigned int size = 0;

	MAY_FAIL();
	require(operation_of(operation)->type == TEE_ALG_SHA256 &&
			*digest_len >= 32,
		"another digest");
	EVP_Digest(data, len, digest, &size, EVP_sha256(), NULL);
	*digest_len = size;
	return TEE_SUCCESS;
}

void TEE_MACInit(TEE_OperationHandle operation, const void *iv, size_t len)
{
	(void)iv;
	require(operation_of(operation)->type == TEE_ALG_HMAC_SHA256 &&
			len == 0,
		"another MAC");
}

TEE_Result TEE_MACComputeFinal(TEE_OperationHandle operation, const void *data,
			       size_t len, void *mac, size_t *mac_len)
{
	struct handle *handle = operation_of(operation);
	unsigned int size = 0;

	MAY_FAIL();
	HMAC(EVP_sha256(), handle->secret, (int)handle->secret_len, data, len,
	     mac, &size);
	*mac_len = size;
	return TEE_SUCCESS;
}

TEE_Result TEE_AEInit(TEE_OperationHandle operation, const void *nonce,
		      size_t nonce_len, uint32_t tag_bits, size_t aad_len,
		      size_t payload_len)
{
	struct handle *handle = operation_of(operation);

	MAY_FAIL();
	(void)aad_len;
	(void)payload_len;
	require(handle->type == TEE_ALG_AES_GCM &&
			handle->mode == TEE_MODE_DECRYPT && tag_bits == 128 &&
			nonce_len == sizeof(handle->nonce),
		"another cipher");
	memcpy(handle->nonce, nonce, nonce_len);
	return TEE_SUCCESS;
}

void TEE_AEUpdateAAD(TEE_OperationHandle operation, const void *aad, size_t len)
{
	struct handle *handle = operation_of(operation);

	require(handle->aad_len + len <= sizeof(handle->aad), "long AAD");
	memcpy(handle->aad + handle->aad_len, aad, len);
	handle->aad_len += len;
}

TEE_Result TEE_AEDecryptFinal(TEE_OperationHandle operation, const void *source,
			      size_t len, void *out, size_t *out_len, void *tag,
			      size_t tag_len)
{
	struct handle *handle = operation_of(operation);
	EVP_CIPHER_CTX *context = NULL;
	int size = 0;
	bool good = false;

	MAY_FAIL();
	require(*out_len >= len, "a short buffer");
	context = EVP_CIPHER_CTX_new();
	good = EVP_DecryptInit_ex(context, EVP_aes_128_gcm(), NULL,
				  handle->secret, handle->nonce) == 1 &&
	       EVP_DecryptUpdate(context, NULL, &size, handle->aad,
				 (int)handle->aad_len) == 1 &&
	       EVP_DecryptUpdate(context, out, &size, source, (int)len) == 1 &&
	       EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, (int)tag_len,
				   tag) == 1 &&
	       EVP_DecryptFinal_ex(context, NULL, &size) == 1;
	EVP_CIPHER_CTX_free(context);
	*out_len = len;
	return good ? TEE_SUCCESS : TEE_ERROR_MAC_INVALID;
}

TEE_Result TEE_AsymmetricSignDigest(TEE_OperationHandle operation,
				    const TEE_Attribute *params, uint32_t count,
				    const void *message, size_t len,
				    void *signature, size_t *signature_len)
{
	struct handle *handle = operation_of(operation);
	EVP_MD_CTX *context = NULL;
	EVP_PKEY *key = NULL;

	MAY_FAIL();
	require(handle->type == TEE_ALG_ED25519 && !params && count == 0,
		"another signature");
	key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL,
					   handle->private_key, KEY_BYTES);
	context = EVP_MD_CTX_new();
	require(EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
			EVP_DigestSign(context, signature, signature_len,
				       message, len) == 1,
		"OpenSSL does not sign");
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	return TEE_SUCCESS;
}

/* ---- the attestation pseudo-TA ---- */

static uint32_t attestation_is_there;
static uint32_t attestation_bytes;

void fake_tee_attestation(uint32_t is_there, uint32_t evidence_bytes)
{
	attestation_is_there = is_there;
	attestation_bytes = evidence_bytes;
}

TEE_Result TEE_OpenTASession(const TEE_UUID *uuid, uint32_t timeout,
			     uint32_t types, TEE_Param params[4],
			     TEE_TASessionHandle *session, uint32_t *origin)
{
	static const TEE_UUID attestation = PTA_ATTESTATION_UUID;

	(void)params;
	MAY_FAIL();
	require(memcmp(uuid, &attestation, sizeof(*uuid)) == 0 && types == 0 &&
			timeout == TEE_TIMEOUT_INFINITE,
		"another TA");
	*origin = TEE_ORIGIN_TEE;
	if (!attestation_is_there)
		return TEE_ERROR_ITEM_NOT_FOUND;
	*session = (TEE_TASessionHandle)(uintptr_t)1;
	held++;
	return TEE_SUCCESS;
}

void TEE_CloseTASession(TEE_TASessionHandle session)
{
	require(session == (TEE_TASessionHandle)(uintptr_t)1, "no session");
	held--;
}

TEE_Result TEE_InvokeTACommand(TEE_TASessionHandle session, uint32_t timeout,
			       uint32_t command, uint32_t types,
			       TEE_Param params[4], uint32_t *origin)
{
	size_t room = params[1].memref.size;

	(void)session;
	(void)timeout;
	(void)types;
	MAY_FAIL();
	require(command == PTA_ATTESTATION_HASH_TA_MEMORY, "another command");
	*origin = TEE_ORIGIN_TRUSTED_APP;
	/* OP-TEE says what it needs when there is too little room. */
	params[1].memref.size = attestation_bytes;
	if (attestation_bytes > room)
		return TEE_ERROR_SHORT_BUFFER;
	memset(params[1].memref.buffer, 0x4D, attestation_bytes);
	return TEE_SUCCESS;
}

void fake_tee_reset(void)
{
	memset(handles, 0, sizeof(handles));
	memset(storage, 0, sizeof(storage));
	held = 0;
	panics = 0;
	forgotten = 0;
	clock_ms = 0;
	fake_tee_attestation(0, 0);
	fake_tee_fail(0, 0, 0);
}
