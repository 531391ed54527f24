/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An asker for the engine's tests (spec/private-io.md). It borrows the device's
 * own key to make questions, so it shows nothing of HPKE: that is what the
 * vectors are for.
 */
#ifndef HELP_QUESTION_H
#define HELP_QUESTION_H

#include "help_model.h"
#include "question.h"

#define HELP_PRIVATE_SLOT_BYTES (UC_PRIVATE_PAGE_BYTES + UC_PAGE_TAG_BYTES)

struct help_question {
	uint8_t opening[UC_QUESTION_BYTES];
	uint8_t answer_nonce[UC_ANSWER_NONCE_BYTES];
	struct uc_private_io keys; /* as the device has them, after ASK */
};

/* To the model that is open; sealed: UC_FEATURE_SEALED_*. */
void help_question(const struct help_device *device, uint32_t sealed,
		   struct help_question *question);
/* ASK. Answers the status; the keys are the asker's own work. */
uint32_t help_ask(struct help_device *device, struct help_question *question);

/* How long the sealed pages of a tensor are. */
size_t help_sealed_len(const struct uc_tensor *tensor);
/* All pages of an input, to be freed; values as help_inputs() makes them up. */
uint8_t *help_seal_input(const struct help_model *model,
			 const struct help_question *question, uint32_t index,
			 uint32_t seed);
/* Pages of an output, from a page on; false when one does not verify. */
bool help_open_output(const struct help_model *model,
		      const struct help_question *question, uint32_t index,
		      uint32_t first_page, const uint8_t *sealed, size_t len,
		      float *elements);
/* All inputs, sealed if the question says so. */
uint32_t help_question_inputs(struct help_device *device,
			      const struct help_model *model,
			      const struct help_question *question,
			      uint32_t seed);

#endif /* HELP_QUESTION_H */
