/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Putting back the files of an earlier day: what a device takes whose storage
 * lies in files alone, and what one refuses whose storage is anchored where
 * the normal world cannot write (docs/security-model.md). The files are real,
 * the anchor is a fake of RPMB.
 */
#include <string.h>
#include <unistd.h>

#include "help_check.h"
#include "help_model.h"
#include "help_rpmb.h"

#define NOW 2000000000U /* of the provider's last word on the time */

static struct help_model model;
static struct help_device device;
static struct fake_rpmb rpmb;
static char path[] = "/tmp/undercroft-rollback-XXXXXX";

/* ---- the attacker, who has the device's disk ---- */

static void copy_file(uint8_t copy[UC_STATE_BYTES])
{
	FILE *file = fopen(path, "rb");

	CHECK(file);
	CHECK(fread(copy, 1, UC_STATE_BYTES, file) == UC_STATE_BYTES);
	CHECK(fclose(file) == 0);
}

static void put_back(const uint8_t copy[UC_STATE_BYTES])
{
	FILE *file = fopen(path, "wb");

	CHECK(file);
	CHECK(fwrite(copy, 1, UC_STATE_BYTES, file) == UC_STATE_BYTES);
	CHECK(fclose(file) == 0);
}

/* ---- the device, honestly used ---- */

static struct uc_terms terms_of(uint32_t version)
{
	struct uc_terms terms = {.model_version = version,
				 .issued_at = NOW - 100};

	memset(terms.license, 1, sizeof(terms.license));
	memset(terms.provider, 2, sizeof(terms.provider));
	memset(terms.model, 3, sizeof(terms.model));
	memset(terms.line, 4, sizeof(terms.line));
	return terms;
}

static uint32_t open_with(struct uc_terms terms)
{
	uint32_t status = UC_ST_OK;

	CHECK_EQUAL(help_command(&device, UC_CMD_CLOSE, 0, 0, NULL, 0),
		    UC_ST_OK);
	device.terms = terms;
	status = help_open(&device, &model);
	return status == UC_ST_OK ? help_push_wanted(&device, &model, 4)
				  : status;
}

static void infer(uint32_t seed)
{
	float *outputs = malloc(4 * help_output_elements(&model));

	CHECK(outputs);
	help_infer(&device, &model, seed, 4, outputs);
	free(outputs);
}

/* What an update changes, without its signature. */
static void change(enum uc_state_kind kind, uint64_t time_s, uint32_t limit)
{
	static struct uc_state state;
	struct uc_terms terms = terms_of(1);
	struct uc_state_entry *entry = NULL;

	CHECK(uc_state_load(&state));
	entry = uc_state_make(&state, kind,
			      kind == UC_STATE_PROVIDER ? terms.provider
							: terms.model,
			      terms.line);
	CHECK(entry);
	if (kind == UC_STATE_PROVIDER) {
		entry->flags |= UC_STATE_TOLD_TIME;
		entry->time_s = time_s;
		entry->clock_ms = state.clock_ms;
	}
	entry->limit = limit;
	CHECK(uc_state_save(&state, entry));
}

/* ---- what rises, and what then no longer opens ---- */

static struct uc_terms counted(void)
{
	struct uc_terms terms = terms_of(1);

	terms.max_inferences = 2;
	return terms;
}

static void use_up(void)
{
	CHECK_EQUAL(open_with(counted()), UC_ST_OK);
	infer(1);
	infer(2);
}

static struct uc_terms of_version_2(void)
{
	return terms_of(2);
}

static void load_version_3(void)
{
	CHECK_EQUAL(open_with(terms_of(3)), UC_ST_OK);
	infer(1);
}

static struct uc_terms issued_before(void)
{
	return terms_of(1);
}

static void revoke(void)
{
	change(UC_STATE_MODEL, 0, NOW);
}

static struct uc_terms ending(void)
{
	struct uc_terms terms = terms_of(1);

	terms.ends_at = NOW + 10;
	return terms;
}

static void tell_a_later_time(void)
{
	change(UC_STATE_PROVIDER, NOW + 20, 0);
}

struct rollback {
	const char *what;
	struct uc_terms (*terms)(void);
	void (*rise)(void);
	enum uc_status refused; /* what the device says afterwards */
};

static const struct rollback rollbacks[] = {
	{"the count of a license", counted, use_up, UC_ST_USED_UP},
	{"the floor of a model", of_version_2, load_version_3,
	 UC_ST_MODEL_TOO_OLD},
	{"a revocation", issued_before, revoke, UC_ST_REVOKED},
	{"the time", ending, tell_a_later_time, UC_ST_EXPIRED},
};

static void new_device(bool is_anchored)
{
	(void)remove(path);
	memset(&rpmb, 0, sizeof(rpmb));
	help_rpmb = is_anchored ? &rpmb : NULL;
	device.state.path = path;
	device.state.stores_left = -1;
	device.state.clock_ms = 1000;
	change(UC_STATE_PROVIDER, NOW, 0);
}

static void check(const struct rollback *rollback, bool is_anchored)
{
	uint8_t early[UC_STATE_BYTES], late[UC_STATE_BYTES];
	struct uc_terms terms = rollback->terms();

	CONTEXT("%s, %s", rollback->what,
		is_anchored ? "anchored" : "in files alone");
	new_device(is_anchored);
	copy_file(early);
	CHECK_EQUAL(open_with(terms), UC_ST_OK);
	CHECK_EQUAL(help_command(&device, UC_CMD_CLOSE, 0, 0, NULL, 0),
		    UC_ST_OK);
	rollback->rise();
	CHECK_EQUAL(open_with(terms), rollback->refused);
	copy_file(late);
	CHECK(memcmp(early, late, sizeof(early)) != 0);

	put_back(early);
	CHECK_EQUAL(open_with(terms), is_anchored ? UC_ST_STORAGE : UC_ST_OK);
	CHECK_EQUAL(help_command(&device, UC_CMD_CLOSE, 0, 0, NULL, 0),
		    UC_ST_OK);
	/* Nothing is made of what was put back. */
	if (is_anchored) {
		uint8_t after[UC_STATE_BYTES];

		copy_file(after);
		CHECK(memcmp(early, after, sizeof(after)) == 0);
		CHECK(remove(path) == 0);
		CHECK_EQUAL(open_with(terms), UC_ST_STORAGE);
		/* The true files again, and all is as it was. */
		put_back(late);
		CHECK_EQUAL(open_with(terms), rollback->refused);
		terms = terms_of(4);
		terms.issued_at = NOW;
		CHECK_EQUAL(open_with(terms), UC_ST_OK);
		infer(3);
	}
}

int main(void)
{
	int file = mkstemp(path);

	CHECK(file >= 0 && close(file) == 0);
	help_sample(&model, 30, 1, 0);
	help_device_init(&device, model.program.arena_bytes);
	for (size_t i = 0; i < sizeof(rollbacks) / sizeof(rollbacks[0]); i++) {
		check(&rollbacks[i], false);
		check(&rollbacks[i], true);
	}
	help_rpmb = NULL;
	help_device_free(&device);
	help_free(&model);
	return remove(path) == 0 ? 0 : 1;
}
