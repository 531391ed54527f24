/* SPDX-License-Identifier: Apache-2.0 */
#include "help_question.h"

#include <string.h>

#include <openssl/evp.h>

#include "bytes.h"
#include "help_check.h"
#include "hpke.h"
#include "uc_port.h"
#include "writer.h"

/* The tag of an empty message under AES-128-GCM. */
static void seal_nothing(const struct uc_hpke_context *context,
			 const uint8_t *aad, int aad_len, uint8_t tag[16])
{
	EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
	int written = 0;

	CHECK(cipher &&
	      EVP_EncryptInit_ex(cipher, EVP_aes_128_gcm(), NULL, context->key,
				 context->nonce) == 1 &&
	      EVP_EncryptUpdate(cipher, NULL, &written, aad, aad_len) == 1 &&
	      EVP_EncryptFinal_ex(cipher, tag, &written) == 1 &&
	      EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, 16, tag) == 1);
	EVP_CIPHER_CTX_free(cipher);
}

void help_question(const struct help_device *device, uint32_t sealed,
		   struct help_question *question)
{
	uint8_t *enc = question->opening + 4;
	uint8_t info[UC_HPKE_MAX_INFO] = {0};
	struct uc_writer writer = {0};
	struct uc_hpke_context context = {0};

	memset(question, 0, sizeof(*question));
	uc_store_u32(question->opening, sealed);
	/* Any key will do, so that of the device as well. */
	CHECK(uc_port_device_public_key(enc));
	uc_writer_init(&writer, info, sizeof(info));
	uc_writer_text(&writer, UC_PRIVATE_IO_INFO);
	uc_writer_bytes(&writer, device->session.header_digest, 32);
	CHECK(writer.ok && uc_hpke_begin(&context, enc, enc, info, writer.len));
	seal_nothing(&context, question->opening, 4, enc + 32);
	uc_hpke_end(&context);
}

uint32_t help_ask(struct help_device *device, struct help_question *question)
{
	const enum uc_param_type *types = uc_service_types(UC_CMD_ASK);
	struct uc_param *params = device->params;
	uint8_t digest[32] = {0};

	memset(params, 0, sizeof(device->params));
	for (uint32_t i = 0; i < 4; i++)
		params[i].type = types[i];
	params[1].ns_data = question->opening;
	params[1].ns_len = sizeof(question->opening);
	params[2].ns_data = question->answer_nonce;
	params[2].ns_len = sizeof(question->answer_nonce);
	memset(question->answer_nonce, 0x55, sizeof(question->answer_nonce));
	memcpy(digest, device->session.header_digest, sizeof(digest));
	CHECK(uc_service_command(&device->session, UC_CMD_ASK, params));
	if (params[0].a != UC_ST_OK) {
		CHECK(uc_is_zero(question->answer_nonce,
				 sizeof(question->answer_nonce)));
		return params[0].a;
	}
	CHECK_EQUAL(params[2].ns_len, sizeof(question->answer_nonce));
	CHECK_EQUAL(uc_question_open(question->opening,
				     sizeof(question->opening), digest,
				     question->answer_nonce, &question->keys),
		    UC_ST_OK);
	return UC_ST_OK;
}

static size_t padded(size_t len)
{
	return (len + 15) / 16 * 16;
}

size_t help_sealed_len(const struct uc_tensor *tensor)
{
	size_t bytes = 4 * (size_t)help_elements(tensor);
	size_t whole = bytes / UC_PRIVATE_PAGE_BYTES;
	size_t rest = bytes % UC_PRIVATE_PAGE_BYTES;

	return whole * HELP_PRIVATE_SLOT_BYTES +
	       (rest == 0 ? 0 : padded(rest) + UC_PAGE_TAG_BYTES);
}

/* Pages of the tensors before this one. */
static uint64_t pages_before(const struct help_model *model,
			     const uint16_t *tensors, uint32_t index)
{
	uint64_t pages = 0;

	for (uint32_t i = 0; i < index; i++)
		pages += uc_units(4 * (uint64_t)help_elements(
					      &model->tensors[tensors[i]]),
				  UC_PRIVATE_PAGE_BYTES);
	return pages;
}

static void make_nonce(uint64_t page, uint8_t nonce[UC_PAGE_NONCE_BYTES])
{
	memset(nonce, 0, UC_PAGE_NONCE_BYTES);
	uc_store_u64(nonce, page);
}

uint8_t *help_seal_input(const struct help_model *model,
			 const struct help_question *question, uint32_t index,
			 uint32_t seed)
{
	const struct uc_tensor *tensor = &model->tensors[model->inputs[index]];
	size_t bytes = 4 * (size_t)help_elements(tensor);
	float *data = help_input_data(model, index, seed);
	uint8_t *sealed = calloc(1, help_sealed_len(tensor));
	uint64_t page = pages_before(model, model->inputs, index);
	struct uc_port_aead aead = {0};
	uint8_t *to = sealed;

	CHECK(sealed && uc_port_aead_init(&aead, UC_SUITE_AES_256_GCM,
					  question->keys.question_key));
	for (size_t at = 0; at < bytes; at += UC_PRIVATE_PAGE_BYTES) {
		size_t len = bytes - at < UC_PRIVATE_PAGE_BYTES
				     ? bytes - at
				     : UC_PRIVATE_PAGE_BYTES;
		uint8_t nonce[UC_PAGE_NONCE_BYTES] = {0};

		make_nonce(page++, nonce);
		memcpy(to, (const uint8_t *)data + at, len);
		CHECK(uc_port_aead_seal(&aead, nonce, to, padded(len),
					to + padded(len)));
		to += padded(len) + UC_PAGE_TAG_BYTES;
	}
	free(data);
	return sealed;
}

bool help_open_output(const struct help_model *model,
		      const struct help_question *question, uint32_t index,
		      uint32_t first_page, const uint8_t *sealed, size_t len,
		      float *elements)
{
	uint64_t page = pages_before(model, model->outputs, index) + first_page;
	struct uc_port_aead aead = {0};
	uint8_t *to = (uint8_t *)elements;
	bool good = true;

	CHECK(uc_port_aead_init(&aead, UC_SUITE_AES_256_GCM,
				question->keys.answer_key));
	while (good && len != 0) {
		static uint8_t plain[UC_PRIVATE_PAGE_BYTES];
		size_t slot = len < HELP_PRIVATE_SLOT_BYTES
				      ? len
				      : HELP_PRIVATE_SLOT_BYTES;
		size_t size = slot - UC_PAGE_TAG_BYTES;
		uint8_t nonce[UC_PAGE_NONCE_BYTES] = {0};

		make_nonce(page++, nonce);
		memcpy(plain, sealed, size);
		good = uc_port_aead_open(&aead, nonce, plain, size,
					 sealed + size);
		memcpy(to, plain, size);
		to += size;
		sealed += slot;
		len -= slot;
	}
	return good;
}

uint32_t help_question_inputs(struct help_device *device,
			      const struct help_model *model,
			      const struct help_question *question,
			      uint32_t seed)
{
	uint32_t status = UC_ST_OK;

	if ((question->keys.sealed & UC_FEATURE_SEALED_INPUT) == 0)
		return help_inputs(device, model, seed);
	for (uint32_t i = 0;
	     status == UC_ST_OK && i < model->program.input_count; i++) {
		uint8_t *sealed = help_seal_input(model, question, i, seed);

		status = help_command(
			device, UC_CMD_INPUT, i, 0, sealed,
			help_sealed_len(&model->tensors[model->inputs[i]]));
		free(sealed);
	}
	return status;
}
