/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands (spec/ta-abi.md). Parameter types are compared first; a memory
 * reference is read once, into secure memory; on failure every output is
 * zero.
 */
#include "bytes.h"
#include "kernels/uc_kernels.h"
#include "pool.h"
#include "private_io.h"
#include "question.h"
#include "uc_license.h"

#define BUILD_TEXT_BYTES 32U

_Static_assert(UC_PRIVATE_PAGE_BYTES <=
		       UC_MAX_HEADER_BYTES + UC_MAX_LICENSE_BYTES,
	       "the staging area holds a page of a sealed input");

struct result {
	enum uc_status status;
	uint32_t detail;
};

static const struct result done = {UC_ST_OK, 0};

static struct result failed(enum uc_status status)
{
	return (struct result){status, 0};
}

static uint32_t session_state(const struct uc_session *session)
{
	return session->engine ? uc_engine_state(session->engine)
			       : UC_STATE_EMPTY;
}

static bool is_inferring(const struct uc_session *session)
{
	uint32_t state = session_state(session);

	return state != UC_STATE_EMPTY && state != UC_STATE_LOADING &&
	       state != UC_STATE_READY;
}

static void forget_private_io(struct uc_session *session)
{
	uc_port_wipe(&session->private_io, sizeof(session->private_io));
}

/* A command out of order: it ends whatever was under way. */
static struct result out_of_order(struct uc_session *session)
{
	if (session_state(session) == UC_STATE_LOADING)
		uc_session_close(session);
	else if (session->engine)
		uc_engine_abort(session->engine);
	return failed(UC_ST_BAD_STATE);
}

/* An engine that failed while loading has wiped its region. */
static void drop_empty_engine(struct uc_session *session)
{
	if (session->engine && session_state(session) == UC_STATE_EMPTY)
		uc_session_close(session);
}

static void answer_want(const struct uc_session *session,
			struct uc_param *param)
{
	struct uc_want want = {0};

	if (session->engine)
		uc_engine_want(session->engine, &want);
	param->a = want.first;
	param->b = want.count;
}

/* Hand out a small record. */
static struct result answer_record(struct uc_param *param,
				   const uint8_t *record, size_t len)
{
	if (!param->ns_data || param->ns_len < len)
		return (struct result){UC_ST_SHORT_BUFFER, (uint32_t)len};
	memcpy(param->ns_data, record, len);
	param->ns_len = len;
	return done;
}

static struct result do_info(struct uc_session *session,
			     struct uc_param params[4])
{
	const struct uc_pool *pool = session->pool;
	uint32_t build = uc_port_build();
	uint8_t record[UC_INFO_RECORD_BYTES] = {0};
	static const char text[2][BUILD_TEXT_BYTES] = {
		"undercroft 0.1.0 development",
		"undercroft 0.1.0 release",
	};

	uc_store_u32(record, UC_ABI_VERSION);
	uc_store_u32(record + 4, build);
	uc_store_u32(record + 8, (uint32_t)pool->len);
	uc_store_u32(record + 12, (uint32_t)uc_pool_free_bytes(pool));
	uc_store_u32(record + 16, pool->advised_pages);
	uc_store_u32(record + 20, uc_kernels.id);
	uc_store_u32(record + 24, uc_port_tick_hz() != 0);
	memcpy(record + 32, text[build != 0], BUILD_TEXT_BYTES);
	return answer_record(&params[1], record, sizeof(record));
}

static struct result do_device_key(struct uc_session *session,
				   struct uc_param params[4])
{
	uint8_t key[256] = {0};
	size_t len = sizeof(key);
	enum uc_status status = uc_device_cose_key(key, &len);

	(void)session;
	if (status != UC_ST_OK)
		return failed(status);
	return answer_record(&params[1], key, len);
}

static struct result open_model(struct uc_session *session,
				const struct uc_opened_model *model)
{
	struct uc_engine_config config = {
		.suite = model->suite,
		.page_bytes = model->page_bytes,
		.program_pages = model->program_pages,
		.resident_pages = model->resident_pages,
		.streamed_pages = model->streamed_pages,
	};

	if (!uc_pool_take(session, model->budget_bytes))
		return (struct result){
			UC_ST_NO_SECURE_MEMORY,
			(uint32_t)(uc_pool_free_bytes(session->pool) / 1024)};
	memcpy(config.page_key, model->page_key, sizeof(config.page_key));
	session->engine =
		uc_engine_create(session->region, model->budget_bytes, &config);
	uc_port_wipe(&config, sizeof(config));
	if (session->engine)
		return done;
	uc_pool_give_back(session);
	return failed(UC_ST_BAD_HEADER);
}

static struct result do_open(struct uc_session *session,
			     struct uc_param params[4])
{
	uint8_t *header = session->pool->staging;
	uint8_t *license = session->pool->staging + UC_MAX_HEADER_BYTES;
	size_t header_len = params[1].ns_len;
	size_t license_len = params[2].ns_len;
	struct uc_opened_model model = {0};
	struct result result = done;

	if (session_state(session) != UC_STATE_EMPTY)
		return out_of_order(session);
	if (!params[1].ns_data || header_len < 1 ||
	    header_len > UC_MAX_HEADER_BYTES)
		return failed(UC_ST_BAD_HEADER);
	if (!params[2].ns_data || license_len < 1 ||
	    license_len > UC_MAX_LICENSE_BYTES)
		return failed(UC_ST_BAD_LICENSE);
	memcpy(header, params[1].ns_data, header_len);
	memcpy(license, params[2].ns_data, license_len);
	(void)uc_state_load(&session->pool->state);
	result.status =
		uc_model_open(header, header_len, license, license_len,
			      &session->pool->state, &model, &result.detail);
	if (result.status == UC_ST_OK &&
	    !uc_port_sha256(header, header_len, session->header_digest))
		result.status = UC_ST_INTERNAL;
	if (result.status == UC_ST_OK)
		result = open_model(session, &model);
	if (result.status == UC_ST_OK) {
		session->permit.terms = model.terms;
		session->permit.updates = session->pool->updates;
	}
	uc_port_wipe(&model, sizeof(model));
	uc_port_wipe(session->pool->staging, sizeof(session->pool->staging));
	if (result.status == UC_ST_OK)
		answer_want(session, &params[3]);
	return result;
}

/* How a command that moves pages answers. */
static struct result answer_pages(struct uc_session *session,
				  struct uc_param params[4],
				  struct result result)
{
	drop_empty_engine(session);
	answer_want(session, &params[2]);
	params[3].a = session_state(session);
	return result;
}

static struct result do_push(struct uc_session *session,
			     struct uc_param params[4])
{
	struct result result = failed(UC_ST_BAD_STATE);
	bool loading = session_state(session) == UC_STATE_LOADING;

	if (!session->engine)
		return result;
	result.status = uc_engine_push(session->engine, params[0].a,
				       params[0].b, params[1].ns_data,
				       params[1].ns_len, &result.detail);
	if (loading && session_state(session) == UC_STATE_READY) {
		result.status = uc_permit_loaded(&session->permit,
						 &session->pool->state);
		if (result.status != UC_ST_OK)
			uc_session_close(session);
	}
	return answer_pages(session, params, result);
}

static struct result do_spill(struct uc_session *session,
			      struct uc_param params[4])
{
	struct result result = failed(UC_ST_BAD_STATE);

	if (!session->engine)
		return result;
	result.status =
		uc_engine_spill(session->engine, params[0].a, params[0].b,
				params[1].ns_data, params[1].ns_len);
	return answer_pages(session, params, result);
}

static struct result do_fill(struct uc_session *session,
			     struct uc_param params[4])
{
	struct result result = failed(UC_ST_BAD_STATE);

	if (!session->engine)
		return result;
	result.status =
		uc_engine_fill(session->engine, params[0].a, params[0].b,
			       params[1].ns_data, params[1].ns_len);
	return answer_pages(session, params, result);
}

/* Counted before it begins: an inference with so much of it sealed. */
static struct result begin_inference(struct uc_session *session,
				     uint32_t sealed)
{
	uint32_t missing = session->permit.terms.features & ~sealed;
	struct result result = done;

	if (missing != 0)
		return (struct result){UC_ST_SEALED_IO_NEEDED, missing};
	result.status = uc_permit_take(&session->permit, &session->pool->state,
				       session->pool->updates, &result.detail);
	if (result.status != UC_ST_OK)
		return result;
	result.status = uc_engine_infer(session->engine);
	if (result.status == UC_ST_OK)
		session->commands = 1;
	return result;
}

static bool may_begin(const struct uc_session *session)
{
	return session_state(session) == UC_STATE_READY ||
	       session_state(session) == UC_STATE_DONE;
}

static struct result do_infer(struct uc_session *session,
			      struct uc_param params[4])
{
	struct result result = done;

	(void)params;
	if (!may_begin(session))
		return out_of_order(session);
	result = begin_inference(session, 0);
	if (result.status == UC_ST_OK)
		forget_private_io(session);
	return result;
}

static struct result open_question(struct uc_session *session,
				   struct uc_param params[4],
				   struct uc_private_io *private_io)
{
	uint8_t question[UC_QUESTION_BYTES] = {0};
	uint8_t answer_nonce[UC_ANSWER_NONCE_BYTES] = {0};
	size_t len = params[1].ns_data ? params[1].ns_len : 0;
	enum uc_status status = UC_ST_OK;

	if (len > sizeof(question))
		return failed(UC_ST_BAD_QUESTION);
	if (len != 0)
		memcpy(question, params[1].ns_data, len);
	/* Our own: two answers to one question have two keys. */
	if (!uc_port_random(answer_nonce, sizeof(answer_nonce)))
		return failed(UC_ST_INTERNAL);
	status = uc_question_open(question, len, session->header_digest,
				  answer_nonce, private_io);
	if (status != UC_ST_OK)
		return failed(status);
	return answer_record(&params[2], answer_nonce, sizeof(answer_nonce));
}

static struct result do_ask(struct uc_session *session,
			    struct uc_param params[4])
{
	struct uc_private_io private_io = {0};
	struct result result = done;

	if (!may_begin(session))
		return out_of_order(session);
	result = open_question(session, params, &private_io);
	if (result.status != UC_ST_OK) {
		uc_engine_abort(session->engine);
	} else {
		/* What the license refuses ends nothing. */
		result = begin_inference(session, private_io.sealed);
		if (result.status == UC_ST_OK)
			session->private_io = private_io;
	}
	uc_port_wipe(&private_io, sizeof(private_io));
	return result;
}

/* Is this of the inference under way sealed? */
static bool is_sealed(const struct uc_session *session, uint32_t feature)
{
	return (session->private_io.sealed & feature) != 0;
}

static enum uc_status move_sealed(struct uc_session *session, bool is_output,
				  const struct uc_param params[4])
{
	return uc_private_move(&session->private_io, session->engine, is_output,
			       params[0].a, params[0].b, params[1].ns_data,
			       params[1].ns_len, session->pool->staging);
}

static struct result do_input(struct uc_session *session,
			      struct uc_param params[4])
{
	struct result result = failed(UC_ST_BAD_STATE);

	if (!session->engine)
		return result;
	if (is_sealed(session, UC_FEATURE_SEALED_INPUT))
		result.status = move_sealed(session, false, params);
	else
		result.status = uc_engine_input(session->engine, params[0].a,
						params[0].b, params[1].ns_data,
						params[1].ns_len);
	return answer_pages(session, params, result);
}

static struct result do_output(struct uc_session *session,
			       struct uc_param params[4])
{
	struct result result = failed(UC_ST_BAD_STATE);

	if (!session->engine)
		return result;
	if (is_sealed(session, UC_FEATURE_SEALED_OUTPUT))
		result.status = move_sealed(session, true, params);
	else
		result.status = uc_engine_output(session->engine, params[0].a,
						 params[0].b, params[1].ns_data,
						 params[1].ns_len);
	drop_empty_engine(session);
	return result;
}

static struct result do_stats(struct uc_session *session,
			      struct uc_param params[4])
{
	struct uc_engine_stats stats = {0};
	uint8_t record[UC_STATS_RECORD_BYTES] = {0};

	_Static_assert(sizeof(stats) == UC_STATS_RECORD_BYTES,
		       "the stats record is the struct");
	if (!session->engine)
		return failed(UC_ST_BAD_STATE);
	uc_engine_get_stats(session->engine, &stats);
	stats.commands = session->commands;
	memcpy(record, &stats, sizeof(record));
	return answer_record(&params[1], record, sizeof(record));
}

static struct result do_close(struct uc_session *session,
			      struct uc_param params[4])
{
	(void)params;
	uc_session_close(session);
	return done;
}

static struct result do_update(struct uc_session *session,
			       struct uc_param params[4])
{
	struct uc_pool *pool = session->pool;
	size_t len = params[1].ns_len;
	struct result result = done;

	if (!params[1].ns_data || len < 1 || len > UC_MAX_UPDATE_BYTES)
		return failed(UC_ST_BAD_UPDATE);
	memcpy(pool->staging, params[1].ns_data, len);
	(void)uc_state_load(&pool->state);
	result.status = uc_update_take(pool->staging, len, &pool->state,
				       &result.detail);
	uc_port_wipe(pool->staging, sizeof(pool->staging));
	if (result.status == UC_ST_OK)
		pool->updates++;
	return result;
}

static struct result do_attest(struct uc_session *session,
			       struct uc_param params[4])
{
	uint8_t nonce[UC_MAX_NONCE_BYTES] = {0};
	size_t nonce_len = params[1].ns_len;
	uint8_t *evidence = session->pool->staging;
	size_t len = UC_MAX_EVIDENCE_BYTES;
	enum uc_status status = UC_ST_OK;

	if (!params[1].ns_data || nonce_len < UC_MIN_NONCE_BYTES ||
	    nonce_len > sizeof(nonce))
		return failed(UC_ST_BAD_PARAMETERS);
	memcpy(nonce, params[1].ns_data, nonce_len);
	status = uc_attest(nonce, nonce_len, (uint32_t)session->pool->len,
			   evidence, &len);
	if (status != UC_ST_OK)
		return failed(status);
	return answer_record(&params[2], evidence, len);
}

struct command {
	struct result (*run)(struct uc_session *session,
			     struct uc_param params[4]);
	enum uc_param_type types[4];
};

static const struct command commands[] = {
	[UC_CMD_INFO] = {do_info,
			 {UC_PARAM_VALUE_INOUT, UC_PARAM_MEMREF_OUTPUT,
			  UC_PARAM_NONE, UC_PARAM_NONE}},
	[UC_CMD_DEVICE_KEY] = {do_device_key,
			       {UC_PARAM_VALUE_INOUT, UC_PARAM_MEMREF_OUTPUT,
				UC_PARAM_NONE, UC_PARAM_NONE}},
	[UC_CMD_OPEN] = {do_open,
			 {UC_PARAM_VALUE_INOUT, UC_PARAM_MEMREF_INPUT,
			  UC_PARAM_MEMREF_INPUT, UC_PARAM_VALUE_OUTPUT}},
	[UC_CMD_PUSH] = {do_push,
			 {UC_PARAM_VALUE_INOUT, UC_PARAM_MEMREF_INPUT,
			  UC_PARAM_VALUE_OUTPUT, UC_PARAM_VALUE_OUTPUT}},
	[UC_CMD_INFER] = {do_infer,
			  {UC_PARAM_VALUE_INOUT, UC_PARAM_NONE, UC_PARAM_NONE,
			   UC_PARAM_NONE}},
	[UC_CMD_INPUT] = {do_input,
			  {UC_PARAM_VALUE_INOUT, UC_PARAM_MEMREF_INPUT,
			   UC_PARAM_VALUE_OUTPUT, UC_PARAM_VALUE_OUTPUT}},
	[UC_CMD_OUTPUT] = {do_output,
			   {UC_PARAM_VALUE_INOUT, UC_PARAM_MEMREF_OUTPUT,
			    UC_PARAM_NONE, UC_PARAM_NONE}},
	[UC_CMD_STATS] = {do_stats,
			  {UC_PARAM_VALUE_INOUT, UC_PARAM_MEMREF_OUTPUT,
			   UC_PARAM_NONE, UC_PARAM_NONE}},
	[UC_CMD_SPILL] = {do_spill,
			  {UC_PARAM_VALUE_INOUT, UC_PARAM_MEMREF_OUTPUT,
			   UC_PARAM_VALUE_OUTPUT, UC_PARAM_VALUE_OUTPUT}},
	[UC_CMD_FILL] = {do_fill,
			 {UC_PARAM_VALUE_INOUT, UC_PARAM_MEMREF_INPUT,
			  UC_PARAM_VALUE_OUTPUT, UC_PARAM_VALUE_OUTPUT}},
	[UC_CMD_CLOSE] = {do_close,
			  {UC_PARAM_VALUE_INOUT, UC_PARAM_NONE, UC_PARAM_NONE,
			   UC_PARAM_NONE}},
	[UC_CMD_UPDATE] = {do_update,
			   {UC_PARAM_VALUE_INOUT, UC_PARAM_MEMREF_INPUT,
			    UC_PARAM_NONE, UC_PARAM_NONE}},
	[UC_CMD_ATTEST] = {do_attest,
			   {UC_PARAM_VALUE_INOUT, UC_PARAM_MEMREF_INPUT,
			    UC_PARAM_MEMREF_OUTPUT, UC_PARAM_NONE}},
	[UC_CMD_ASK] = {do_ask,
			{UC_PARAM_VALUE_INOUT, UC_PARAM_MEMREF_INPUT,
			 UC_PARAM_MEMREF_OUTPUT, UC_PARAM_NONE}},
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

const enum uc_param_type *uc_service_types(uint32_t command)
{
	return command < COMMAND_COUNT && commands[command].run
		       ? commands[command].types
		       : NULL;
}

void uc_session_init(struct uc_session *session, struct uc_pool *pool)
{
	memset(session, 0, sizeof(*session));
	session->pool = pool;
}

void uc_session_close(struct uc_session *session)
{
	if (!session->region)
		return;
	if (session->engine)
		uc_engine_destroy(session->engine);
	session->engine = NULL;
	session->commands = 0;
	forget_private_io(session);
	uc_port_wipe(session->header_digest, sizeof(session->header_digest));
	uc_pool_give_back(session);
	/* Questions are for models that are open. */
	if (!session->pool->sessions)
		(void)uc_port_device_forget();
	uc_permit_give_back(&session->permit, &session->pool->state);
	uc_port_wipe(&session->permit, sizeof(session->permit));
	uc_port_state_end();
}

static void zero_values(struct uc_param params[4])
{
	for (uint32_t i = 1; i < 4; i++) {
		if (params[i].type == UC_PARAM_VALUE_OUTPUT) {
			params[i].a = 0;
			params[i].b = 0;
		}
	}
}

static void zero_memory(struct uc_param params[4])
{
	for (uint32_t i = 1; i < 4; i++) {
		if (params[i].type != UC_PARAM_MEMREF_OUTPUT)
			continue;
		if (params[i].ns_data)
			memset(params[i].ns_data, 0, params[i].ns_len);
		params[i].ns_len = 0;
	}
}

bool uc_service_command(struct uc_session *session, uint32_t command,
			struct uc_param params[4])
{
	const enum uc_param_type *types = uc_service_types(command);
	struct result result = done;

	if (!types) {
		if (params[0].type != UC_PARAM_VALUE_INOUT)
			return false;
		params[0].a = UC_ST_UNKNOWN_COMMAND;
		params[0].b = 0;
		return true;
	}
	for (uint32_t i = 0; i < 4; i++) {
		if (params[i].type != types[i])
			return false;
	}

	zero_values(params);
	/* STATS and INFO only look: they do not count. */
	if (command != UC_CMD_STATS && command != UC_CMD_INFO)
		session->commands++;
	result = commands[command].run(session, params);
	uc_port_state_end();
	if (!is_inferring(session))
		forget_private_io(session);
	if (result.status != UC_ST_OK) {
		zero_values(params);
		zero_memory(params);
	}
	params[0].a = result.status;
	params[0].b = result.detail;
	return true;
}
