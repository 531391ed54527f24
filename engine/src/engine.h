/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's own state, at offset 0 of the arena, and what its parts do for
 * one another: engine.c states and failures, pages.c from shared memory to
 * verified plaintext, run.c operators, io.c inputs and outputs.
 */
#ifndef UC_ENGINE_PRIVATE_H
#define UC_ENGINE_PRIVATE_H

#include "arena.h"
#include "bytes.h"
#include "uc_engine.h"

/*
 * The part of the stream that lies decrypted in the window: [begin, end) of
 * the window are bytes of the stream not yet consumed.
 */
struct uc_window {
	uint64_t begin;
	uint64_t end;
};

/* Where an inference stands; meaningless outside of one. */
struct uc_run {
	uint32_t op;	/* index of the operator under way */
	uint32_t panel; /* its first panel not yet computed */
	/* Bytes of the stream that the next step takes; 0: not known. */
	uint64_t step_bytes;
	struct uc_window window;
	uint32_t streamed_pages; /* taken so far */
	uint32_t spill_part;	 /* pages done of the SPILL or FILL under way */
	uint32_t input_elements[UC_MAX_IO]; /* written so far */
};

struct uc_engine {
	struct uc_arena arena;
	uint32_t state;
	struct uc_engine_config config;
	struct uc_port_aead aead;
	struct uc_port_aead spill_aead; /* this inference's own key */
	bool spill_has_key;
	uint32_t loaded_pages; /* program and resident pages taken so far */
	struct uc_program program;
	struct uc_run run;
	struct uc_engine_stats stats;
};

_Static_assert(sizeof(struct uc_engine) <= UC_ENGINE_CONTEXT_BYTES,
	       "the engine's state has outgrown its place in the arena");

/* pages.c: copy one page and its tag from shared memory to a place in the
 * arena, and decrypt it there. */
enum uc_status uc_page_take(struct uc_engine *engine, uint32_t index,
			    const uint8_t *ns_page, uint64_t offset);
/* The next page of the stream, into the window. */
enum uc_status uc_window_take(struct uc_engine *engine, const uint8_t *ns_page);
/* The next len bytes of the stream, or NULL when they are not there yet. */
const uint8_t *uc_window_peek(struct uc_engine *engine, uint64_t len);
void uc_window_consume(struct uc_engine *engine, uint64_t len);

/* run.c: compute until the end (UC_STATE_DONE) or until a page is missing
 * (UC_STATE_RUNNING). */
enum uc_status uc_run_on(struct uc_engine *engine);

/* spill.c: an operator that hands an activation out or takes it back; the state
 * says which, and what is wanted how many pages are left. */
enum uc_status uc_spill_begin(struct uc_engine *engine, const struct uc_op *op);
void uc_spill_want(const struct uc_engine *engine, struct uc_want *want);
/* The next page, to or from shared memory; the run goes on after the last. */
enum uc_status uc_spill_page(struct uc_engine *engine, uint8_t *ns_page);
enum uc_status uc_fill_page(struct uc_engine *engine, const uint8_t *ns_page);

/* io.c: element ranges were checked by the caller. */
void uc_io_scatter(const struct uc_tensor *tensor, uint32_t first,
		   uint32_t count, const uint8_t *ns_data, uint8_t *stored);
void uc_io_gather(const struct uc_tensor *tensor, uint32_t first,
		  uint32_t count, const uint8_t *stored, uint8_t *ns_data);

#endif /* UC_ENGINE_PRIVATE_H */
