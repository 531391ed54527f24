/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that the host's engine does with keys, for valgrind to watch: the device's
 * private key, and what comes of it, are marked as not initialised, so that
 * memcheck complains of every branch and every address that depends on them. What
 * becomes public on the way is said where it happens (uc_secret.h).
 *
 * Argument: a file that test_constant_time.py wrote, and, for the test's own test,
 * "branch" or "index": a leak of that kind is put into each use of a page's key.
 * Prints what was answered, and fails when a step did not go as it should.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <valgrind/memcheck.h>

#include "uc_host.h"
#include "uc_port.h"
#include "uc_spec.h"

#define ARENA_BYTES (1U << 20)
#define HEAD_BYTES (32 + 9 * 4) /* of struct shipment */

struct shipment {
	uint8_t device_key[32];
	uint32_t header_len, license_len, pages, slot_bytes, load_pages,
		input_len, output_len, sealed_input_len, sealed_output_len;
	uint8_t *header, *license, *slots, *input, *question, *sealed_input;
};

static void expect(int good, const char *what)
{
	printf("%s: %s\n", what, good ? "as it should" : "FAILED");
	if (!good)
		exit(1);
}

/* ---- what is secret besides the device's key, and the leaks ---- */

bool __real_uc_port_random(uint8_t *out, size_t len);
bool __wrap_uc_port_random(uint8_t *out, size_t len);

bool __wrap_uc_port_random(uint8_t *out, size_t len)
{
	bool good = __real_uc_port_random(out, len);

	(void)VALGRIND_MAKE_MEM_UNDEFINED(out, len);
	return good;
}

static const char *leak = "";
static volatile uint32_t leaked;

bool __real_uc_port_aead_init(struct uc_port_aead *aead, uint32_t suite,
			      const uint8_t key[32]);
bool __wrap_uc_port_aead_init(struct uc_port_aead *aead, uint32_t suite,
			      const uint8_t key[32]);

bool __wrap_uc_port_aead_init(struct uc_port_aead *aead, uint32_t suite,
			      const uint8_t key[32])
{
	static const uint8_t table[256] = {1};

	if (strcmp(leak, "branch") == 0 && (key[0] & 1) != 0)
		leaked++;
	if (strcmp(leak, "index") == 0)
		leaked += table[key[0]];
	return __real_uc_port_aead_init(aead, suite, key);
}

/* How many bytes of [memory, memory + len) valgrind takes for secret. */
static size_t secret_bytes(const uint8_t *memory, size_t len)
{
	size_t count = 0;

	for (size_t i = 0; i < len; i++) {
		uint8_t bits = 0;

		count += VALGRIND_GET_VBITS(memory + i, &bits, 1) == 1 &&
			 bits != 0;
	}
	return count;
}

/* ---- calls ---- */

static uint32_t command(struct uc_session *session, uint32_t number, uint32_t a,
			uint32_t b, uint8_t *data, size_t len, uint8_t *second,
			size_t second_len)
{
	const enum uc_param_type *types = uc_service_types(number);
	struct uc_param params[4] = {0};

	for (uint32_t i = 0; i < 4; i++)
		params[i].type = types[i];
	params[0].a = a;
	params[0].b = b;
	params[1].ns_data = data;
	params[1].ns_len = len;
	params[2].ns_data = second;
	params[2].ns_len = second_len;
	if (!uc_host_command(session, number, params))
		return UINT32_MAX;
	return params[0].a;
}

static uint32_t open_model(struct uc_session *session,
			   const struct shipment *shipment)
{
	return command(session, UC_CMD_OPEN, 0, 0, shipment->header,
		       shipment->header_len, shipment->license,
		       shipment->license_len);
}

static uint32_t push(struct uc_session *session,
		     const struct shipment *shipment, uint32_t first,
		     uint32_t count)
{
	return command(session, UC_CMD_PUSH, first, count,
		       shipment->slots + (size_t)first * shipment->slot_bytes,
		       (size_t)count * shipment->slot_bytes, NULL, 0);
}

/* What follows an INFER or an ASK. */
static void go_on(struct uc_session *session, const struct shipment *shipment,
		  uint8_t *input, size_t input_len, size_t output_len)
{
	uint8_t *output = calloc(1, output_len);
	uint32_t streamed = shipment->pages - shipment->load_pages;

	expect(command(session, UC_CMD_INPUT, 0, 0, input, input_len, NULL,
		       0) == UC_ST_OK,
	       "the input");
	for (uint32_t i = 0; i < streamed; i++)
		expect(push(session, shipment, shipment->load_pages + i, 1) ==
			       UC_ST_OK,
		       "a page of the stream");
	expect(command(session, UC_CMD_OUTPUT, 0, 0, output, output_len, NULL,
		       0) == UC_ST_OK,
	       "the output");
	free(output);
}

static void infer(struct uc_session *session, const struct shipment *shipment)
{
	expect(command(session, UC_CMD_INFER, 0, 0, NULL, 0, NULL, 0) ==
		       UC_ST_OK,
	       "an inference");
	go_on(session, shipment, shipment->input, shipment->input_len,
	      shipment->output_len);
}

static uint32_t ask(struct uc_session *session, const struct shipment *shipment)
{
	uint8_t nonce[UC_ANSWER_NONCE_BYTES] = {0};

	return command(session, UC_CMD_ASK, 0, 0, shipment->question,
		       UC_QUESTION_BYTES, nonce, sizeof(nonce));
}

/* A question that is answered, and what is refused of one. */
static void answer(struct uc_session *session, struct shipment *shipment)
{
	uint8_t *last = shipment->sealed_input + shipment->sealed_input_len - 1;

	expect(ask(session, shipment) == UC_ST_OK, "a question");
	expect(secret_bytes((const uint8_t *)&session->private_io,
			    sizeof(session->private_io)) >= 64,
	       "its keys are watched");
	go_on(session, shipment, shipment->sealed_input,
	      shipment->sealed_input_len, shipment->sealed_output_len);
	*last ^= 1;
	expect(ask(session, shipment) == UC_ST_OK &&
		       command(session, UC_CMD_INPUT, 0, 0,
			       shipment->sealed_input,
			       shipment->sealed_input_len, NULL,
			       0) == UC_ST_NOT_AUTHENTIC,
	       "refusing a changed input");
	*last ^= 1;
	expect(secret_bytes((const uint8_t *)&session->private_io,
			    sizeof(session->private_io)) == 0,
	       "no key after a question");
	for (size_t i = 4; i < UC_QUESTION_BYTES; i += 47) {
		shipment->question[i] ^= 1;
		expect(ask(session, shipment) == UC_ST_NOT_AUTHENTIC,
		       "refusing a changed question");
		shipment->question[i] ^= 1;
	}
}

static void refuse_a_page(struct uc_session *session,
			  const struct shipment *shipment, uint32_t at)
{
	expect(open_model(session, shipment) == UC_ST_OK, "opening again");
	shipment->slots[at] ^= 1;
	expect(push(session, shipment, 0, 1) == UC_ST_NOT_AUTHENTIC,
	       "refusing a changed page");
	shipment->slots[at] ^= 1;
}

/* As spilled activations are, with a key of the moment. */
static void seal_and_open(uint32_t suite)
{
	struct uc_port_aead aead = {0};
	uint8_t key[32] = {0};
	uint8_t nonce[12] = {0};
	uint8_t tag[16] = {0};
	uint8_t data[4096] = {0};

	expect(uc_port_random(key, sizeof(key)) &&
		       uc_port_aead_init(&aead, suite, key),
	       "a key of the moment");
	(void)VALGRIND_MAKE_MEM_UNDEFINED(data, sizeof(data));
	expect(uc_port_aead_seal(&aead, nonce, data, sizeof(data), tag),
	       "sealing");
	expect(uc_port_aead_open(&aead, nonce, data, sizeof(data), tag),
	       "opening what was sealed");
	tag[15] ^= 1;
	expect(!uc_port_aead_open(&aead, nonce, data, sizeof(data), tag),
	       "refusing what was changed");
	uc_port_wipe(&aead, sizeof(aead));
	uc_port_wipe(key, sizeof(key));
	expect(secret_bytes((const uint8_t *)&aead, sizeof(aead)) == 0 &&
		       secret_bytes(key, sizeof(key)) == 0,
	       "wiping");
}

static void watch(struct shipment *shipment)
{
	uint8_t *key = shipment->device_key;
	uint8_t out[1024] = {0};
	uint8_t nonce[32] = {0};
	struct uc_host *host = NULL;
	struct uc_session *session = NULL;
	const uint8_t *arena = NULL;
	size_t len = 0;
	size_t secret = 0;

	(void)VALGRIND_MAKE_MEM_UNDEFINED(key, sizeof(shipment->device_key));
	host = uc_host_create(ARENA_BYTES, key);
	session = host ? uc_host_session_open(host) : NULL;
	expect(session != NULL, "loading the device's key");
	arena = uc_host_arena(host, &len);
	(void)VALGRIND_MAKE_MEM_DEFINED(arena, len);
	expect(command(session, UC_CMD_DEVICE_KEY, 0, 0, out, sizeof(out), NULL,
		       0) == UC_ST_OK,
	       "the public key");
	expect(command(session, UC_CMD_ATTEST, 0, 0, nonce, sizeof(nonce), out,
		       sizeof(out)) == UC_ST_OK,
	       "evidence");
	expect(open_model(session, shipment) == UC_ST_OK, "opening");
	/* The page key came out of the device's key, or nothing was watched. */
	secret = secret_bytes(arena, len);
	printf("secret bytes in the arena: %zu\n", secret);
	expect(secret >= 16, "what is watched");
	if (*leak)
		exit(0);
	expect(push(session, shipment, 0, 1) == UC_ST_OK &&
		       push(session, shipment, 1, shipment->load_pages - 1) ==
			       UC_ST_OK,
	       "the pages to load");
	infer(session, shipment);
	infer(session, shipment);
	answer(session, shipment);
	expect(command(session, UC_CMD_CLOSE, 0, 0, NULL, 0, NULL, 0) ==
		       UC_ST_OK,
	       "closing");
	expect(secret_bytes(arena, len) == 0, "no secret after closing");
	refuse_a_page(session, shipment, 0);
	refuse_a_page(session, shipment, shipment->slot_bytes - 16);
	refuse_a_page(session, shipment, shipment->slot_bytes - 1);
	expect(secret_bytes(arena, len) == 0, "no secret after a failure");
	uc_host_destroy(host);
}

static uint8_t *take(FILE *file, size_t len)
{
	uint8_t *data = malloc(len);

	if (!data || fread(data, 1, len, file) != len)
		exit(2);
	return data;
}

int main(int argc, char **argv)
{
	struct shipment shipment = {0};
	FILE *file = argc > 1 ? fopen(argv[1], "rb") : NULL;

	if (!file || fread(&shipment, 1, HEAD_BYTES, file) != HEAD_BYTES)
		return 2;
	leak = argc > 2 ? argv[2] : "";
	shipment.header = take(file, shipment.header_len);
	shipment.license = take(file, shipment.license_len);
	shipment.slots =
		take(file, (size_t)shipment.pages * shipment.slot_bytes);
	shipment.input = take(file, shipment.input_len);
	shipment.question = take(file, UC_QUESTION_BYTES);
	shipment.sealed_input = take(file, shipment.sealed_input_len);
	(void)fclose(file);
	expect(RUNNING_ON_VALGRIND != 0, "somebody watches");
	watch(&shipment);
	seal_and_open(UC_SUITE_AES_256_GCM);
	seal_and_open(UC_SUITE_AEGIS_128L);
	seal_and_open(UC_SUITE_CHACHA20_POLY1305);
	free(shipment.header);
	free(shipment.license);
	free(shipment.slots);
	free(shipment.input);
	free(shipment.question);
	free(shipment.sealed_input);
	return 0;
}
