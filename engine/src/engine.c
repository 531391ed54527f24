/* SPDX-License-Identifier: Apache-2.0 */
/*
 * States and failures (spec/ta-abi.md). Every function that is called out of
 * order, or that fails, leaves through fail(): what the failure wipes is
 * decided there and nowhere else.
 */
#include "engine.h"

#include "guard.h"

static uint64_t program_end(const struct uc_engine *engine)
{
	return UC_ENGINE_CONTEXT_BYTES +
	       (uint64_t)engine->config.program_pages *
		       engine->config.page_bytes;
}

static uint32_t load_pages(const struct uc_engine *engine)
{
	return engine->config.program_pages + engine->config.resident_pages;
}

static void forget_spill_key(struct uc_engine *engine)
{
	uc_port_wipe(&engine->spill_aead, sizeof(engine->spill_aead));
	engine->spill_has_key = false;
}

/* Everything but the engine's state, the program and resident weights. */
static void wipe_inference(struct uc_engine *engine)
{
	const struct uc_engine_config *config = &engine->config;
	uint64_t resident_bytes =
		(uint64_t)config->resident_pages * config->page_bytes;
	uint64_t resident = engine->program.resident_offset;

	if (resident_bytes == 0)
		resident = program_end(engine);
	uc_arena_wipe(&engine->arena, (size_t)program_end(engine),
		      (size_t)resident);
	uc_arena_wipe(&engine->arena, (size_t)(resident + resident_bytes),
		      engine->arena.bytes);
	uc_port_wipe(&engine->run, sizeof(engine->run));
	forget_spill_key(engine);
}

static enum uc_status fail(struct uc_engine *engine, enum uc_status status)
{
	switch (engine->state) {
	case UC_STATE_LOADING:
		uc_engine_destroy(engine);
		break;
	case UC_STATE_INPUT:
	case UC_STATE_RUNNING:
	case UC_STATE_SPILLING:
	case UC_STATE_FILLING:
	case UC_STATE_DONE:
		wipe_inference(engine);
		engine->state = UC_STATE_READY;
		break;
	default: /* EMPTY and READY hold nothing of an inference */
		break;
	}
	return status;
}

static bool config_is_possible(const struct uc_engine_config *config,
			       size_t arena_bytes)
{
	uint64_t fixed = UC_ENGINE_CONTEXT_BYTES + UC_ARENA_SLACK_BYTES;

	if (config->page_bytes % UC_MIN_PAGE_BYTES != 0 ||
	    config->page_bytes < UC_MIN_PAGE_BYTES ||
	    config->page_bytes > UC_MAX_PAGE_BYTES ||
	    config->program_pages < 1 ||
	    config->program_pages > UC_MAX_PROGRAM_PAGES)
		return false;
	if ((uint64_t)config->program_pages + config->resident_pages +
		    config->streamed_pages >
	    UC_MAX_PAGES)
		return false;
	/* Resident pages as well: it saves decrypting them in vain. */
	fixed += ((uint64_t)config->program_pages + config->resident_pages) *
		 config->page_bytes;
	return arena_bytes <= UINT32_MAX && fixed <= arena_bytes;
}

struct uc_engine *uc_engine_create(uint8_t *arena, size_t arena_bytes,
				   const struct uc_engine_config *config)
{
	struct uc_engine *engine = (struct uc_engine *)(void *)arena;

	if (!arena || (uintptr_t)arena % UC_ARENA_ALIGN_BYTES != 0 ||
	    !config_is_possible(config, arena_bytes))
		return NULL;
	memset(engine, 0, sizeof(*engine));
	uc_arena_init(&engine->arena, arena, arena_bytes);
	uc_arena_use(&engine->arena, 0, UC_ENGINE_CONTEXT_BYTES);
	engine->config = *config;
	uc_port_wipe(engine->config.page_key, sizeof(engine->config.page_key));
	if (!uc_port_aead_init(&engine->aead, config->suite,
			       config->page_key)) {
		uc_engine_destroy(engine);
		return NULL;
	}
	engine->stats.budget_bytes = arena_bytes;
	engine->stats.tick_hz = uc_port_tick_hz();
	engine->state = UC_STATE_LOADING;
	return engine;
}

void uc_engine_destroy(struct uc_engine *engine)
{
	/* UC_STATE_EMPTY is 0: a wiped engine is an empty one. */
	if (engine->arena.base)
		uc_arena_end(&engine->arena);
}

uint32_t uc_engine_state(const struct uc_engine *engine)
{
	return engine->state;
}

void uc_engine_want(const struct uc_engine *engine, struct uc_want *want)
{
	const struct uc_engine_config *config = &engine->config;

	want->first = 0;
	want->count = 0;
	if (engine->state == UC_STATE_LOADING) {
		want->first = engine->loaded_pages;
		want->count = engine->loaded_pages < config->program_pages
				      ? config->program_pages
				      : load_pages(engine);
		want->count -= engine->loaded_pages;
	} else if (engine->state == UC_STATE_RUNNING) {
		want->first = load_pages(engine) + engine->run.streamed_pages;
		want->count =
			config->streamed_pages - engine->run.streamed_pages;
	} else if (engine->state == UC_STATE_SPILLING ||
		   engine->state == UC_STATE_FILLING) {
		uc_spill_want(engine, want);
	}
}

static enum uc_status check_program(struct uc_engine *engine, uint32_t *detail)
{
	const struct uc_engine_config *config = &engine->config;
	const struct uc_program_limits limits = {
		.page_bytes = config->page_bytes,
		.program_pages = config->program_pages,
		.resident_pages = config->resident_pages,
		.streamed_pages = config->streamed_pages,
		.arena_bytes = engine->arena.bytes,
	};
	size_t len = (size_t)config->program_pages * config->page_bytes;
	const uint8_t *bytes =
		uc_arena_use(&engine->arena, UC_ENGINE_CONTEXT_BYTES, len);

	if (!bytes)
		return UC_ST_INTERNAL;
	return uc_program_check(&engine->program, bytes, len, &limits, detail);
}

/* Behind the resident blob there are zeros only. */
static bool resident_padding_is_zero(struct uc_engine *engine)
{
	const struct uc_program *program = &engine->program;
	uint64_t len = (uint64_t)engine->config.resident_pages *
			       engine->config.page_bytes -
		       program->resident_bytes;
	const uint8_t *padding = uc_arena_use(
		&engine->arena,
		program->resident_offset + program->resident_bytes, len);

	return padding && uc_is_zero(padding, (size_t)len);
}

static enum uc_status load_page(struct uc_engine *engine,
				const uint8_t *ns_page, uint32_t *detail)
{
	const struct uc_engine_config *config = &engine->config;
	uint32_t index = engine->loaded_pages;
	uint64_t offset =
		UC_ENGINE_CONTEXT_BYTES + (uint64_t)index * config->page_bytes;
	enum uc_status status = UC_ST_OK;

	if (index >= config->program_pages)
		offset = engine->program.resident_offset +
			 (uint64_t)(index - config->program_pages) *
				 config->page_bytes;
	status = uc_page_take(engine, index, ns_page, offset);
	if (status != UC_ST_OK)
		return status;
	engine->loaded_pages++;
	engine->stats.load_decrypted_bytes += config->page_bytes;

	if (engine->loaded_pages == config->program_pages) {
		status = check_program(engine, detail);
		if (status != UC_ST_OK)
			return status;
	}
	if (engine->loaded_pages == load_pages(engine)) {
		if (config->resident_pages != 0 &&
		    !resident_padding_is_zero(engine)) {
			*detail = UC_PROGRAM_DETAIL;
			return UC_ST_BAD_PROGRAM;
		}
		engine->stats.weights_bytes = engine->program.resident_bytes +
					      engine->program.stream_bytes;
		engine->state = UC_STATE_READY;
	}
	return UC_ST_OK;
}

static enum uc_status stream_page(struct uc_engine *engine,
				  const uint8_t *ns_page, uint32_t *detail)
{
	enum uc_status status = uc_window_take(engine, ns_page);

	if (status == UC_ST_BAD_PROGRAM)
		*detail = UC_PROGRAM_DETAIL;
	return status == UC_ST_OK ? uc_run_on(engine) : status;
}

enum uc_status uc_engine_push(struct uc_engine *engine, uint32_t first,
			      uint32_t count, const uint8_t *ns_pages,
			      size_t ns_len, uint32_t *detail)
{
	size_t page_bytes = engine->config.page_bytes + UC_PAGE_TAG_BYTES;
	bool loading = engine->state == UC_STATE_LOADING;
	enum uc_status status = UC_ST_OK;
	struct uc_want want = {0};

	*detail = 0;
	if (!loading && engine->state != UC_STATE_RUNNING)
		return fail(engine, UC_ST_BAD_STATE);
	uc_engine_want(engine, &want);
	if (first != want.first || count < 1 || count > want.count)
		return fail(engine, UC_ST_BAD_PAGE_INDEX);
	if (!ns_pages || ns_len / page_bytes != count ||
	    ns_len % page_bytes != 0)
		return fail(engine, UC_ST_BAD_PARAMETERS);

	for (uint32_t i = 0; i < count && status == UC_ST_OK; i++) {
		const uint8_t *ns_page = ns_pages + i * page_bytes;

		status = loading ? load_page(engine, ns_page, detail)
				 : stream_page(engine, ns_page, detail);
		/* An activation goes first: the rest is wanted again later. */
		if (engine->state == UC_STATE_SPILLING ||
		    engine->state == UC_STATE_FILLING)
			break;
	}
	return status == UC_ST_OK ? UC_ST_OK : fail(engine, status);
}

/* Spilled pages move in the state that wants them, in order. */
static enum uc_status check_spill(const struct uc_engine *engine,
				  uint32_t state, uint32_t first,
				  uint32_t count, const uint8_t *ns_pages,
				  size_t ns_len)
{
	size_t page_bytes = engine->config.page_bytes + UC_PAGE_TAG_BYTES;
	struct uc_want want = {0};

	if (engine->state != state)
		return UC_ST_BAD_STATE;
	uc_engine_want(engine, &want);
	if (first != want.first || count < 1 || count > want.count)
		return UC_ST_BAD_PAGE_INDEX;
	if (!ns_pages || ns_len / page_bytes != count ||
	    ns_len % page_bytes != 0)
		return UC_ST_BAD_PARAMETERS;
	return UC_ST_OK;
}

enum uc_status uc_engine_spill(struct uc_engine *engine, uint32_t first,
			       uint32_t count, uint8_t *ns_pages, size_t ns_len)
{
	size_t page_bytes = engine->config.page_bytes + UC_PAGE_TAG_BYTES;
	enum uc_status status = check_spill(engine, UC_STATE_SPILLING, first,
					    count, ns_pages, ns_len);

	for (uint32_t i = 0; i < count && status == UC_ST_OK; i++)
		status = uc_spill_page(engine, ns_pages + i * page_bytes);
	return status == UC_ST_OK ? UC_ST_OK : fail(engine, status);
}

enum uc_status uc_engine_fill(struct uc_engine *engine, uint32_t first,
			      uint32_t count, const uint8_t *ns_pages,
			      size_t ns_len)
{
	size_t page_bytes = engine->config.page_bytes + UC_PAGE_TAG_BYTES;
	enum uc_status status = check_spill(engine, UC_STATE_FILLING, first,
					    count, ns_pages, ns_len);

	for (uint32_t i = 0; i < count && status == UC_ST_OK; i++)
		status = uc_fill_page(engine, ns_pages + i * page_bytes);
	return status == UC_ST_OK ? UC_ST_OK : fail(engine, status);
}

enum uc_status uc_engine_infer(struct uc_engine *engine)
{
	struct uc_engine_stats *stats = &engine->stats;

	if (engine->state != UC_STATE_READY && engine->state != UC_STATE_DONE)
		return fail(engine, UC_ST_BAD_STATE);
	memset(&engine->run, 0, sizeof(engine->run));
	forget_spill_key(engine);
	stats->spilled_bytes = 0;
	stats->decrypted_bytes = 0;
	stats->decrypted_pages = 0;
	stats->moved_bytes = 0;
	stats->ticks_decrypt = 0;
	stats->ticks_move = 0;
	stats->ticks_compute = 0;
	engine->state = UC_STATE_INPUT;
	return UC_ST_OK;
}

/* Is [first, first + len / 4) a range of the tensor's elements? */
static bool is_element_range(const struct uc_tensor *tensor, uint32_t first,
			     size_t len)
{
	return len != 0 && len % 4 == 0 &&
	       uc_range_fits(4 * (uint64_t)first, len, tensor->bytes);
}

static bool inputs_are_complete(const struct uc_engine *engine)
{
	const struct uc_program *program = &engine->program;
	struct uc_tensor tensor = {0};

	for (uint32_t i = 0; i < program->input_count; i++) {
		uc_program_tensor(program, uc_program_input(program, i),
				  &tensor);
		if (engine->run.input_elements[i] != tensor.bytes / 4)
			return false;
	}
	return true;
}

enum uc_status uc_engine_input(struct uc_engine *engine, uint32_t index,
			       uint32_t first_element, const uint8_t *ns_data,
			       size_t ns_len)
{
	const struct uc_program *program = &engine->program;
	struct uc_tensor tensor = {0};
	uint8_t *stored = NULL;
	uint64_t begin = uc_port_ticks();
	enum uc_status status = UC_ST_OK;

	if (engine->state != UC_STATE_INPUT)
		return fail(engine, UC_ST_BAD_STATE);
	if (!ns_data || index >= program->input_count ||
	    first_element != engine->run.input_elements[index])
		return fail(engine, UC_ST_BAD_PARAMETERS);
	uc_program_tensor(program, uc_program_input(program, index), &tensor);
	if (!is_element_range(&tensor, first_element, ns_len))
		return fail(engine, UC_ST_BAD_PARAMETERS);
	stored = uc_arena_use(&engine->arena, tensor.offset, tensor.bytes);
	if (!stored)
		return fail(engine, UC_ST_INTERNAL);
	uc_io_scatter(&tensor, first_element, (uint32_t)(ns_len / 4), ns_data,
		      stored);
	engine->run.input_elements[index] += (uint32_t)(ns_len / 4);
	engine->stats.moved_bytes += ns_len;
	engine->stats.ticks_move += uc_port_ticks() - begin;

	if (inputs_are_complete(engine))
		status = uc_run_on(engine);
	return status == UC_ST_OK ? UC_ST_OK : fail(engine, status);
}

enum uc_status uc_engine_output(struct uc_engine *engine, uint32_t index,
				uint32_t first_element, uint8_t *ns_data,
				size_t ns_len)
{
	const struct uc_program *program = &engine->program;
	struct uc_tensor tensor = {0};
	const uint8_t *stored = NULL;
	uint64_t begin = uc_port_ticks();

	if (engine->state != UC_STATE_DONE)
		return fail(engine, UC_ST_BAD_STATE);
	if (!ns_data || index >= program->output_count)
		return fail(engine, UC_ST_BAD_PARAMETERS);
	uc_program_tensor(program, uc_program_output(program, index), &tensor);
	if (!is_element_range(&tensor, first_element, ns_len))
		return fail(engine, UC_ST_BAD_PARAMETERS);
	stored = uc_arena_use(&engine->arena, tensor.offset, tensor.bytes);
	if (!stored)
		return fail(engine, UC_ST_INTERNAL);
	uc_io_gather(&tensor, first_element, (uint32_t)(ns_len / 4), stored,
		     ns_data);
	engine->stats.moved_bytes += ns_len;
	engine->stats.ticks_move += uc_port_ticks() - begin;
	return UC_ST_OK;
}

void uc_engine_abort(struct uc_engine *engine)
{
	/* EMPTY and READY have none; what is LOADING is no inference. */
	if (engine->state != UC_STATE_EMPTY &&
	    engine->state != UC_STATE_LOADING &&
	    engine->state != UC_STATE_READY)
		(void)fail(engine, UC_ST_OK);
}

void uc_engine_get_stats(const struct uc_engine *engine,
			 struct uc_engine_stats *stats)
{
	*stats = engine->stats;
	stats->secure_peak_bytes = engine->arena.mark;
}
