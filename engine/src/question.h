/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The opening of a question (spec/private-io.md): from an asker's message to
 * this device to the keys of one inference's inputs and outputs.
 */
#ifndef UC_QUESTION_H
#define UC_QUESTION_H

#include "uc_service.h"

/*
 * question: secure memory. header_digest: of the model that is open. Answers
 * BAD_QUESTION for its form, then STORAGE when the device has no key, then
 * NOT_AUTHENTIC. On failure *io is zero; else the caller wipes it.
 */
enum uc_status
uc_question_open(const uint8_t *question, size_t len,
		 const uint8_t header_digest[32],
		 const uint8_t answer_nonce[UC_ANSWER_NONCE_BYTES],
		 struct uc_private_io *io);

#endif /* UC_QUESTION_H */
