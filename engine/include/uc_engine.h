/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine: one model in one arena. It takes encrypted pages in the order it asks for them, and computes. The engine's own
 * state (this struct) lies at offset 0 of the arena, so that the budget and the high-water mark count it.
 */
#ifndef UC_ENGINE_H
#define UC_ENGINE_H

#include "uc_port.h"
#include "uc_program.h"

struct uc_engine;

struct uc_engine_config {
	uint32_t suite;
	uint32_t page_bytes;
	uint32_t program_pages;
	uint32_t resident_pages;
	uint32_t streamed_pages;
	uint8_t page_key[32];
};

struct uc_engine_stats {
	uint64_t budget_bytes;
	uint64_t secure_peak_bytes;
	uint64_t weights_bytes;
	uint64_t decrypted_bytes;
	uint64_t decrypted_pages;
	uint64_t load_decrypted_bytes;
	uint64_t moved_bytes;
	uint64_t inferences;
	uint64_t spilled_bytes;
	uint64_t ticks_decrypt;
	uint64_t ticks_move;
	uint64_t ticks_compute;
	uint64_t tick_hz;
	uint64_t commands;
	uint64_t reserved[2];
};

struct uc_want {
	uint32_t first; /* page index in the file */
	uint32_t count; /* 0: none */
};

/* arena: 64-byte aligned, arena_bytes = budget_bytes of the header. The
 * returned engine lies inside it. NULL when the sizes cannot be. */
struct uc_engine *uc_engine_create(uint8_t *arena, size_t arena_bytes,
				   const struct uc_engine_config *config);
/* Wipes the whole arena. */
void uc_engine_destroy(struct uc_engine *engine);

uint32_t uc_engine_state(const struct uc_engine *engine); /* UC_STATE_* */
void uc_engine_want(const struct uc_engine *engine, struct uc_want *want);

/* ns_pages: shared memory, count pages of page_bytes + UC_PAGE_TAG_BYTES.
 * Each byte is read once, and used after its page was verified. */
enum uc_status uc_engine_push(struct uc_engine *engine, uint32_t first,
			      uint32_t count, const uint8_t *ns_pages,
			      size_t ns_len, uint32_t *detail);
/* SPILLING and FILLING: pages of an activation out to shared memory, and back.
 * Same sizes as pages of the file; numbered from 0 within an inference. */
enum uc_status uc_engine_spill(struct uc_engine *engine, uint32_t first,
			       uint32_t count, uint8_t *ns_pages,
			       size_t ns_len);
enum uc_status uc_engine_fill(struct uc_engine *engine, uint32_t first,
			      uint32_t count, const uint8_t *ns_pages,
			      size_t ns_len);
enum uc_status uc_engine_infer(struct uc_engine *engine);
enum uc_status uc_engine_input(struct uc_engine *engine, uint32_t index,
			       uint32_t first_element, const uint8_t *ns_data,
			       size_t ns_len);
enum uc_status uc_engine_output(struct uc_engine *engine, uint32_t index,
				uint32_t first_element, uint8_t *ns_data,
				size_t ns_len);
/* Ends and wipes the inference under way, if any. */
void uc_engine_abort(struct uc_engine *engine);
void uc_engine_get_stats(const struct uc_engine *engine,
			 struct uc_engine_stats *stats);

#endif /* UC_ENGINE_H */
