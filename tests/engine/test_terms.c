/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conditions of a license: counts, rates, times and floors, through
 * crashes, restarts and storage that fails.
 */
#include <string.h>

#include "help_check.h"
#include "help_model.h"
#include "uc_port.h"

#define NOW 2000000000U /* of the provider's last word on the time */

static struct help_model model;
static struct help_device device;
static struct uc_state scratch;

static struct uc_terms plain_terms(void)
{
	struct uc_terms terms = {.model_version = 1, .issued_at = NOW - 100};

	memset(terms.license, 1, sizeof(terms.license));
	memset(terms.provider, 2, sizeof(terms.provider));
	memset(terms.model, 3, sizeof(terms.model));
	memset(terms.line, 4, sizeof(terms.line));
	return terms;
}

static struct uc_permit permit_of(struct uc_terms terms)
{
	return (struct uc_permit){.terms = terms};
}

/* A device that has never stored anything. */
static void new_device(void)
{
	memset(device.state.data, 0, sizeof(device.state.data));
	device.state.stores_left = -1;
	device.state.clock_ms = 1000;
}

/* The provider says what time it is. */
static void tell_time(uint64_t time_s)
{
	struct uc_terms terms = plain_terms();
	struct uc_state_entry *entry = NULL;

	CHECK(uc_state_load(&scratch));
	entry = uc_state_make(&scratch, UC_STATE_PROVIDER, terms.provider,
			      terms.line);
	CHECK(entry);
	entry->flags |= UC_STATE_TOLD_TIME;
	entry->time_s = time_s;
	entry->clock_ms = scratch.clock_ms;
	CHECK(uc_state_save(&scratch, entry));
}

static uint32_t take(struct uc_permit *permit)
{
	uint32_t detail = 0;

	return uc_permit_take(permit, &scratch, 0, &detail);
}

static uint32_t take_all(struct uc_permit *permit)
{
	uint32_t count = 0;

	while (count < 100000 && take(permit) == UC_ST_OK)
		count++;
	return count;
}

static void check_without_conditions(void)
{
	struct uc_permit permit = permit_of(plain_terms());
	uint8_t before[sizeof(device.state.data)];

	CONTEXT("no conditions");
	new_device();
	device.state.stores_left = 0;
	memcpy(before, device.state.data, sizeof(before));
	CHECK_EQUAL(take_all(&permit), 100000);
	uc_permit_give_back(&permit, &scratch);
	CHECK(memcmp(before, device.state.data, sizeof(before)) == 0);
}

static void check_count(void)
{
	static const uint32_t most[] = {1, 2, 63, 64, 65, 128, 1000};

	for (size_t i = 0; i < sizeof(most) / sizeof(most[0]); i++) {
		struct uc_terms terms = plain_terms();
		struct uc_permit permit;

		CONTEXT("at most %u inferences", most[i]);
		new_device();
		terms.max_inferences = most[i];
		permit = permit_of(terms);
		CHECK_EQUAL(take_all(&permit), most[i]);
		CHECK_EQUAL(take(&permit), UC_ST_USED_UP);
		permit = permit_of(terms);
		CHECK_EQUAL(take(&permit), UC_ST_USED_UP);
	}
}

/* A session that is closed gives back what it did not use; one that is not
 * loses it, and never more than a batch. */
static void check_sessions(void)
{
	struct uc_terms terms = plain_terms();
	struct uc_permit permit;
	uint32_t taken = 0;

	CONTEXT("sessions that end well");
	new_device();
	terms.max_inferences = 1000;
	for (uint32_t i = 0; i < 90; i++) {
		permit = permit_of(terms);
		for (uint32_t j = 0; j < 11; j++, taken++)
			CHECK_EQUAL(take(&permit), UC_ST_OK);
		uc_permit_give_back(&permit, &scratch);
	}
	permit = permit_of(terms);
	CHECK_EQUAL(take_all(&permit), 1000 - taken);

	CONTEXT("sessions that crash");
	new_device();
	for (uint32_t i = 0; i < 10; i++) {
		permit = permit_of(terms);
		CHECK_EQUAL(take(&permit), UC_ST_OK);
	}
	permit = permit_of(terms);
	CHECK_EQUAL(take_all(&permit), 1000 - 10 * UC_LICENSE_BATCH);
}

/* Whatever happens, never more than the license says. */
static void check_any_course(void)
{
	struct uc_terms terms = plain_terms();
	uint32_t seed = 7;

	for (uint32_t course = 0; course < 200; course++) {
		struct uc_permit permits[3];
		uint32_t begun = 0;
		uint64_t passed_ms = 0;
		bool with_rate = course % 2 == 1;

		CONTEXT("course %u", course);
		new_device();
		terms.max_inferences = 300;
		terms.rate_count = with_rate ? 20 : 0;
		terms.rate_seconds = with_rate ? 10 : 0;
		for (size_t i = 0; i < 3; i++)
			permits[i] = permit_of(terms);
		for (uint32_t step = 0; step < 800; step++) {
			uint32_t i = help_random(&seed) % 3;
			uint32_t what = help_random(&seed) % 100;
			uint32_t ms = help_random(&seed) % 200;

			if (what < 80) {
				begun += take(&permits[i]) == UC_ST_OK;
			} else if (what < 84) {
				uc_permit_give_back(&permits[i], &scratch);
				permits[i] = permit_of(terms);
			} else if (what < 86) {
				permits[i] = permit_of(terms);
			} else if (what < 87) {
				/* The device restarts. */
				device.state.clock_ms = 1;
				for (size_t j = 0; j < 3; j++)
					permits[j] = permit_of(terms);
			} else if (what < 90) {
				device.state.stores_left =
					(int32_t)(help_random(&seed) % 3);
			} else if (what < 95) {
				device.state.stores_left = -1;
			} else {
				device.state.clock_ms += ms;
				passed_ms += ms;
			}
			CHECK(begun <= terms.max_inferences);
			/* 1 ms of each restart's clock, at most. */
			if (with_rate)
				CHECK(begun * 500 <=
				      20 * 500 + passed_ms + step);
		}
		CHECK(with_rate || begun > 0);
	}
}

static void check_failing_storage(void)
{
	struct uc_terms terms = plain_terms();
	struct uc_permit permit;

	CONTEXT("storage that fails");
	new_device();
	terms.max_inferences = 100;
	permit = permit_of(terms);
	device.state.stores_left = 0;
	CHECK_EQUAL(take(&permit), UC_ST_STORAGE);
	CHECK_EQUAL(take(&permit), UC_ST_STORAGE);
	device.state.stores_left = 1;
	for (uint32_t i = 0; i < UC_LICENSE_BATCH; i++)
		CHECK_EQUAL(take(&permit), UC_ST_OK);
	CHECK_EQUAL(take(&permit), UC_ST_STORAGE);
	device.state.stores_left = -1;
	CHECK_EQUAL(take_all(&permit), 100 - UC_LICENSE_BATCH);
}

static void check_rate(void)
{
	struct uc_terms terms = plain_terms();
	struct uc_permit permit;
	uint32_t detail = 0;

	CONTEXT("10 inferences a minute");
	new_device();
	terms.rate_count = 10;
	terms.rate_seconds = 60;
	permit = permit_of(terms);
	CHECK_EQUAL(take_all(&permit), 10);
	CHECK_EQUAL(uc_permit_take(&permit, &scratch, 0, &detail), UC_ST_RATE);
	CHECK_EQUAL(detail, 7); /* a little more than needed */
	device.state.clock_ms += 5999;
	CHECK_EQUAL(take(&permit), UC_ST_RATE);
	device.state.clock_ms += 1;
	CHECK_EQUAL(take(&permit), UC_ST_OK);
	CHECK_EQUAL(take(&permit), UC_ST_RATE);
	device.state.clock_ms += 600000;
	CHECK_EQUAL(take_all(&permit), 10);

	CONTEXT("a restart fills no bucket");
	device.state.clock_ms = 1;
	permit = permit_of(terms);
	CHECK_EQUAL(take(&permit), UC_ST_RATE);
	device.state.clock_ms = 12000;
	CHECK_EQUAL(take_all(&permit), 2);

	CONTEXT("the limits of a rate");
	new_device();
	terms.rate_count = 1048576;
	terms.rate_seconds = 31622400;
	permit = permit_of(terms);
	for (uint32_t i = 0; i < 1000; i++)
		CHECK_EQUAL(take(&permit), UC_ST_OK);
	device.state.clock_ms = UINT64_MAX;
	CHECK_EQUAL(take(&permit), UC_ST_OK);
	new_device();
	terms.rate_count = 1;
	permit = permit_of(terms);
	CHECK_EQUAL(take(&permit), UC_ST_OK);
	CHECK_EQUAL(uc_permit_take(&permit, &scratch, 0, &detail), UC_ST_RATE);
	CHECK_EQUAL(detail, 31622401);
}

static uint32_t admit(struct uc_terms terms)
{
	uint32_t detail = 0;

	CHECK(uc_state_load(&scratch));
	return uc_terms_admit(&terms, &scratch, &detail);
}

static void check_time(void)
{
	struct uc_terms terms = plain_terms();
	struct uc_permit permit;
	uint32_t detail = 0;

	CONTEXT("an end, and no time told");
	new_device();
	terms.ends_at = NOW + 1000;
	CHECK_EQUAL(admit(terms), UC_ST_NO_TIME);
	terms.without_time = true;
	CHECK_EQUAL(admit(terms), UC_ST_OK);
	/* It was issued at some time, which has passed. */
	terms.ends_at = terms.issued_at;
	CHECK_EQUAL(admit(terms), UC_ST_EXPIRED);

	CONTEXT("a begin");
	terms = plain_terms();
	terms.begins_at = NOW + 50;
	CHECK_EQUAL(admit(terms), UC_ST_NO_TIME);
	tell_time(NOW);
	CHECK(uc_state_load(&scratch));
	CHECK_EQUAL(uc_terms_admit(&terms, &scratch, &detail),
		    UC_ST_NOT_YET_VALID);
	CHECK_EQUAL(detail, 50);
	device.state.clock_ms += 49999;
	CHECK_EQUAL(admit(terms), UC_ST_NOT_YET_VALID);
	device.state.clock_ms += 1;
	CHECK_EQUAL(admit(terms), UC_ST_OK);

	CONTEXT("an end in the middle of a batch");
	new_device();
	tell_time(NOW);
	terms = plain_terms();
	terms.ends_at = NOW + 10;
	permit = permit_of(terms);
	CHECK_EQUAL(take(&permit), UC_ST_OK);
	device.state.clock_ms += 9999;
	CHECK_EQUAL(take(&permit), UC_ST_OK);
	device.state.clock_ms += 1;
	CHECK_EQUAL(take(&permit), UC_ST_EXPIRED);
	CHECK_EQUAL(take(&permit), UC_ST_EXPIRED);

	CONTEXT("an end, and the device restarts");
	device.state.clock_ms = 5;
	/* What was written last holds: the time of the give-back above. */
	permit = permit_of(terms);
	CHECK_EQUAL(take(&permit), UC_ST_EXPIRED);
	terms.ends_at = NOW + 20;
	permit = permit_of(terms);
	CHECK_EQUAL(take(&permit), UC_ST_OK);
	device.state.clock_ms = 11000;
	CHECK_EQUAL(take(&permit), UC_ST_EXPIRED);

	CONTEXT("the time goes on while the device is off, as far as it knows");
	new_device();
	device.state.clock_ms = 1000000;
	tell_time(NOW);
	device.state.clock_ms = 2000; /* restarted */
	terms.ends_at = NOW + 2;
	CHECK_EQUAL(admit(terms), UC_ST_EXPIRED);
	terms.ends_at = NOW + 3;
	CHECK_EQUAL(admit(terms), UC_ST_OK);
}

static void check_other_conditions(void)
{
	struct uc_terms terms = plain_terms();

	CONTEXT("conditions that need no state");
	new_device();
	terms.features = 4;
	CHECK_EQUAL(admit(terms), UC_ST_UNSUPPORTED_FEATURE);
	terms = plain_terms();
	terms.version_floor = 2;
	CHECK_EQUAL(admit(terms), UC_ST_MODEL_TOO_OLD);
	terms = plain_terms();
	terms.update_floor = 1;
	CHECK_EQUAL(admit(terms), UC_ST_UPDATE_NEEDED);
	memset(&scratch, 0, sizeof(scratch));
	CHECK_EQUAL(uc_terms_admit(&terms, &scratch, &(uint32_t){0}),
		    UC_ST_STORAGE);
}

static uint32_t load(uint32_t version)
{
	uint32_t status = UC_ST_OK;

	CHECK_EQUAL(help_command(&device, UC_CMD_CLOSE, 0, 0, NULL, 0),
		    UC_ST_OK);
	device.terms = plain_terms();
	device.terms.model_version = version;
	status = help_open(&device, &model);
	return status == UC_ST_OK ? help_push_wanted(&device, &model, 4)
				  : status;
}

static void check_versions(void)
{
	uint8_t before[sizeof(device.state.data)];

	CONTEXT("model versions");
	new_device();
	memcpy(before, device.state.data, sizeof(before));
	CHECK_EQUAL(load(1), UC_ST_OK);
	CHECK(memcmp(before, device.state.data, sizeof(before)) == 0);
	CHECK_EQUAL(load(3), UC_ST_OK);
	CHECK_EQUAL(load(2), UC_ST_MODEL_TOO_OLD);
	CHECK_EQUAL(load(1), UC_ST_MODEL_TOO_OLD);
	CHECK_EQUAL(help_state(&device), UC_STATE_EMPTY);
	CHECK_EQUAL(load(3), UC_ST_OK);

	CONTEXT("a version that cannot be written down is not loaded");
	device.state.stores_left = 0;
	CHECK_EQUAL(load(4), UC_ST_STORAGE);
	CHECK_EQUAL(help_state(&device), UC_STATE_EMPTY);
	CHECK(help_all_bytes(&device, 0, model.program.arena_bytes, 0));
	device.state.stores_left = -1;
	CHECK_EQUAL(load(3), UC_ST_OK);
}

/* Through the commands: what a license refuses changes nothing. */
static void check_infer(void)
{
	float *outputs = malloc(4 * help_output_elements(&model));

	CONTEXT("INFER with a license of two inferences");
	CHECK(outputs);
	new_device();
	CHECK_EQUAL(load(1), UC_ST_OK);
	CHECK_EQUAL(help_command(&device, UC_CMD_CLOSE, 0, 0, NULL, 0),
		    UC_ST_OK);
	device.terms.max_inferences = 2;
	CHECK_EQUAL(help_open(&device, &model), UC_ST_OK);
	CHECK_EQUAL(help_push_wanted(&device, &model, 4), UC_ST_OK);
	help_infer(&device, &model, 1, 4, outputs);
	/* One that is begun and ended by a command out of order counts. */
	CHECK_EQUAL(help_command(&device, UC_CMD_INFER, 0, 0, NULL, 0),
		    UC_ST_OK);
	CHECK_EQUAL(help_command(&device, UC_CMD_INFER, 0, 0, NULL, 0),
		    UC_ST_BAD_STATE);
	CHECK_EQUAL(help_state(&device), UC_STATE_READY);
	CHECK_EQUAL(help_command(&device, UC_CMD_INFER, 0, 0, NULL, 0),
		    UC_ST_USED_UP);
	CHECK_EQUAL(help_state(&device), UC_STATE_READY);
	CHECK_EQUAL(help_command(&device, UC_CMD_CLOSE, 0, 0, NULL, 0),
		    UC_ST_OK);
	CHECK_EQUAL(help_open(&device, &model), UC_ST_USED_UP);
	free(outputs);
}

static void check_full_table(void)
{
	struct uc_terms terms = plain_terms();
	struct uc_permit permit;

	CONTEXT("a full table");
	new_device();
	tell_time(NOW);
	terms.max_inferences = 5;
	for (uint32_t i = 1; i < UC_STATE_ENTRIES; i++) {
		terms.license[0] = (uint8_t)i;
		terms.ends_at = i == 9 ? NOW + 1 : 0;
		permit = permit_of(terms);
		CHECK_EQUAL(take(&permit), UC_ST_OK);
		uc_permit_give_back(&permit, &scratch);
	}
	terms.license[0] = 200;
	terms.ends_at = 0;
	permit = permit_of(terms);
	CHECK_EQUAL(take(&permit), UC_ST_STATE_FULL);
	/* The one that ended makes room, and opens nothing again. */
	device.state.clock_ms += 1000;
	CHECK_EQUAL(take(&permit), UC_ST_OK);
	terms.license[0] = 9;
	terms.ends_at = NOW + 1;
	permit = permit_of(terms);
	CHECK_EQUAL(take(&permit), UC_ST_EXPIRED);
	terms.license[0] = 201;
	terms.ends_at = 0;
	permit = permit_of(terms);
	CHECK_EQUAL(take(&permit), UC_ST_STATE_FULL);
	/* The counts of the others are what they were. */
	terms.license[0] = 10;
	permit = permit_of(terms);
	CHECK_EQUAL(take_all(&permit), 4);
}

int main(void)
{
	help_sample(&model, 30, 1, 0);
	help_device_init(&device, model.program.arena_bytes);
	check_without_conditions();
	check_count();
	check_sessions();
	check_any_course();
	check_failing_storage();
	check_rate();
	check_time();
	check_other_conditions();
	check_versions();
	check_infer();
	check_full_table();
	help_device_free(&device);
	help_free(&model);
	return 0;
}
