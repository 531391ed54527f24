/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small models for the engine's tests: a program is put together operator by
 * operator, placed in an arena, filled with random weights, and sealed.
 */
#ifndef HELP_MODEL_H
#define HELP_MODEL_H

#include <stdbool.h>

#include "port_host.h"
#include "uc_license.h"
#include "uc_op.h"
#include "uc_service.h"

#define HELP_MAX_TENSORS 128U
#define HELP_MAX_OPS 128U
#define HELP_PAGE_BYTES UC_MIN_PAGE_BYTES

struct help_model {
	/* The program, before it is encoded. */
	struct uc_tensor tensors[HELP_MAX_TENSORS];
	struct uc_op ops[HELP_MAX_OPS];
	uint16_t inputs[UC_MAX_IO];
	uint16_t outputs[UC_MAX_IO];
	struct uc_program program; /* counts, regions; `bytes` is unused */

	/* How the planner was asked to do it. */
	uint32_t resident_percent; /* of each operator's panels */
	uint32_t step_percent;	   /* of each operator's streamed panels */
	uint32_t window_extra;	   /* bytes more than needed */

	/* What is sealed: program, resident blob and stream, in pages. */
	uint8_t *plain;
	uint32_t program_pages, resident_pages, streamed_pages;
	uint8_t *sealed;
	uint8_t key[32];
};

/* ---- putting together ---- */

void help_init(struct help_model *model);
void help_free(struct help_model *model);
uint16_t help_tensor(struct help_model *model, uint32_t n, uint32_t h,
		     uint32_t w, uint32_t c);
/* The same of 8-bit integers. */
uint16_t help_tensor_s8(struct help_model *model, uint32_t n, uint32_t h,
			uint32_t w, uint32_t c);
/* A box of a root; to be made before any other tensor than the root's views. */
uint16_t help_view(struct help_model *model, uint16_t root,
		   const uint32_t origin[4], const uint32_t dims[4]);
/* Rows [first, first + count) of a root, and channels. */
uint16_t help_rows(struct help_model *model, uint16_t root, uint32_t first,
		   uint32_t count);
uint16_t help_channels(struct help_model *model, uint16_t root, uint32_t first,
		       uint32_t count);
void help_input(struct help_model *model, uint16_t tensor, uint8_t layout);
void help_output(struct help_model *model, uint16_t tensor, uint8_t layout);
/* An operator with neutral attributes, to be changed by the caller. */
struct uc_op *help_op(struct help_model *model, uint16_t code, uint16_t a,
		      uint16_t b, uint16_t out);

/* Live ranges, weights, places: everything that was not said. */
void help_plan(struct help_model *model);
/* The last part of it: every tensor gets memory of its own. */
void help_place(struct help_model *model);
/* Encode the program into its pages. */
void help_encode(struct help_model *model);
/* The same, and make up weights from the seed. */
void help_fill(struct help_model *model, uint32_t seed);
/* Encrypt all pages. */
void help_seal(struct help_model *model);

/* A model with most operators: convolution, depthwise, pointwise, binary,
 * constant, pooling, transposition, fully connected, softmax. */
void help_sample(struct help_model *model, uint32_t resident_percent,
		 uint32_t step_percent, uint32_t window_extra);

uint32_t help_random(uint32_t *state);
uint32_t help_load_pages(const struct help_model *model);
size_t help_sealed_page_bytes(const struct help_model *model);
const uint8_t *help_page(const struct help_model *model, uint32_t index);
uint32_t help_elements(const struct uc_tensor *tensor);

/* ---- a device to run it on ---- */

struct help_device {
	uint8_t *memory;
	size_t len;
	struct uc_pool pool;
	struct uc_session session;
	struct uc_param params[4]; /* of the last command */
	struct uc_port_host_state state;
	struct uc_terms terms; /* of the license that help_open() takes */
};

#define HELP_PAINT 0xA5

/* While true, there are no random bytes to be had. */
extern bool help_random_fails;

/* The memory is painted. */
void help_device_init(struct help_device *device, size_t len);
void help_device_free(struct help_device *device);

/* One command with parameters of the right types; data is parameter 1.
 * Answers the status. */
uint32_t help_command(struct help_device *device, uint32_t command, uint32_t a,
		      uint32_t b, const void *data, size_t len);
uint32_t help_state(const struct help_device *device);
uint32_t help_open(struct help_device *device, const struct help_model *model);
uint32_t help_push(struct help_device *device, const struct help_model *model,
		   uint32_t first, uint32_t count);
/* Push what is wanted, `pages` at a time. */
uint32_t help_push_wanted(struct help_device *device,
			  const struct help_model *model, uint32_t pages);
/* An input of made-up values from the seed, to be freed. */
float *help_input_data(const struct help_model *model, uint32_t index,
		       uint32_t seed);
/* All inputs, so made up. */
uint32_t help_inputs(struct help_device *device, const struct help_model *model,
		     uint32_t seed);
/* INFER, inputs, pages; then all outputs into one buffer. */
void help_infer(struct help_device *device, const struct help_model *model,
		uint32_t seed, uint32_t pages, float *outputs);
size_t help_output_elements(const struct help_model *model);
void help_stats(struct help_device *device, struct uc_engine_stats *stats);

/* Read the memory in spite of AddressSanitizer's poison: is every byte of
 * [from, to) equal to value? */
bool help_all_bytes(const struct help_device *device, size_t from, size_t to,
		    uint8_t value);

/* ---- guarding ---- */

/* When set, each operator's run is watched: it may change its output and its
 * scratch, and no other byte of this memory. */
void help_guard(uint8_t *memory, size_t len);

#endif /* HELP_MODEL_H */
