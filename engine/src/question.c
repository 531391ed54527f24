/* SPDX-License-Identifier: Apache-2.0 */
#include "question.h"

#include <string.h>

#include "bytes.h"
#include "hpke.h"
#include "uc_port.h"
#include "writer.h"

#define SEALED_ANY (UC_FEATURE_SEALED_INPUT | UC_FEATURE_SEALED_OUTPUT)

/* Flags (u32), encapsulated key, tag of an empty message. */
#define FLAGS_BYTES 4U
_Static_assert(FLAGS_BYTES + UC_HPKE_KEY_BYTES + UC_HPKE_TAG_BYTES ==
		       UC_QUESTION_BYTES,
	       "an opening has one size");

static bool derive_keys(struct uc_private_io *io,
			const struct uc_hpke_context *context,
			const uint8_t answer_nonce[UC_ANSWER_NONCE_BYTES])
{
	uint8_t label[UC_HPKE_MAX_INFO] = {0};
	struct uc_writer question = {0};
	struct uc_writer answer = {0};

	uc_writer_init(&question, label, sizeof(label));
	uc_writer_text(&question, UC_QUESTION_LABEL);
	if (!question.ok ||
	    !uc_hpke_export(context, label, question.len, io->question_key))
		return false;
	uc_writer_init(&answer, label, sizeof(label));
	uc_writer_text(&answer, UC_ANSWER_LABEL);
	uc_writer_bytes(&answer, answer_nonce, UC_ANSWER_NONCE_BYTES);
	return answer.ok &&
	       uc_hpke_export(context, label, answer.len, io->answer_key);
}

static enum uc_status
open_question(const uint8_t question[UC_QUESTION_BYTES],
	      const uint8_t header_digest[32],
	      const uint8_t answer_nonce[UC_ANSWER_NONCE_BYTES],
	      struct uc_private_io *io)
{
	const uint8_t *enc = question + FLAGS_BYTES;
	const uint8_t *tag = enc + UC_HPKE_KEY_BYTES;
	uint8_t public_key[UC_HPKE_KEY_BYTES] = {0};
	uint8_t info[UC_HPKE_MAX_INFO] = {0};
	uint8_t nothing[1] = {0};
	struct uc_hpke_context context = {0};
	struct uc_writer writer = {0};
	bool authentic = false;
	bool derived = false;

	if (!uc_port_device_public_key(public_key))
		return UC_ST_STORAGE;
	uc_writer_init(&writer, info, sizeof(info));
	uc_writer_text(&writer, UC_PRIVATE_IO_INFO);
	uc_writer_bytes(&writer, header_digest, 32);
	if (!writer.ok)
		return UC_ST_INTERNAL;
	authentic =
		uc_hpke_begin(&context, enc, public_key, info, writer.len) &&
		uc_hpke_open_first(&context, question, FLAGS_BYTES, tag,
				   UC_HPKE_TAG_BYTES, nothing);
	if (authentic)
		derived = derive_keys(io, &context, answer_nonce);
	uc_hpke_end(&context);
	if (!authentic)
		return UC_ST_NOT_AUTHENTIC;
	return derived ? UC_ST_OK : UC_ST_INTERNAL;
}

enum uc_status
uc_question_open(const uint8_t *question, size_t len,
		 const uint8_t header_digest[32],
		 const uint8_t answer_nonce[UC_ANSWER_NONCE_BYTES],
		 struct uc_private_io *io)
{
	uint32_t sealed = len == UC_QUESTION_BYTES ? uc_load_u32(question) : 0;
	enum uc_status status = UC_ST_OK;

	memset(io, 0, sizeof(*io));
	if (sealed == 0 || (sealed & ~SEALED_ANY) != 0)
		return UC_ST_BAD_QUESTION;
	status = open_question(question, header_digest, answer_nonce, io);
	/* The key pair in storage may be another one by now. */
	if (status == UC_ST_NOT_AUTHENTIC && uc_port_device_forget())
		status = open_question(question, header_digest, answer_nonce,
				       io);
	if (status != UC_ST_OK) {
		uc_port_wipe(io, sizeof(*io));
		return status;
	}
	uc_port_device_keep();
	io->sealed = sealed;
	return UC_ST_OK;
}
