// SPDX-License-Identifier: Apache-2.0
/*
 * Calls uc_question_open() on what comes in, with a device whose key the caller
 * chooses. Standard input: the device's X25519 private key (32 bytes), then any
 * number of requests; standard output: an answer to each.
 *
 * request: 32 header_digest, 32 answer_nonce, u32 question_len; the question
 * answer:  u32 status, u32 sealed, 32 question_key, 32 answer_key
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_device.h"
#include "question.h"

struct request {
	uint8_t header_digest[32];
	uint8_t answer_nonce[UC_ANSWER_NONCE_BYTES];
	uint32_t question_len;
};

static bool take(void *data, size_t len)
{
	return fread(data, 1, len, stdin) == len;
}

int main(void)
{
	struct request request = {0};

	if (!take(fake_device_key, sizeof(fake_device_key)))
		return 2;
	while (take(&request, sizeof(request))) {
		struct uc_private_io io;
		/* Exactly as long, so that a sanitizer sees a byte beyond. */
		uint8_t *question = malloc(request.question_len + 1U);
		uint32_t status = 0;

		if (!question || !take(question + 1, request.question_len))
			return 2;
		memset(&io, 0xA5, sizeof(io));
		status = uc_question_open(question + 1, request.question_len,
					  request.header_digest,
					  request.answer_nonce, &io);
		fwrite(&status, sizeof(status), 1, stdout);
		fwrite(&io, sizeof(io), 1, stdout);
		free(question);
	}
	return fflush(stdout) == 0 ? 0 : 1;
}
