/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fuzzer's input, taken from the front; zeros when it is used up. And what
 * a fuzzer says at its end about how far it got.
 */
#ifndef HELP_FUZZ_H
#define HELP_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fuzz_bytes {
	const uint8_t *data;
	size_t len;
};

uint8_t fuzz_u8(struct fuzz_bytes *bytes);
uint16_t fuzz_u16(struct fuzz_bytes *bytes);
uint32_t fuzz_u32(struct fuzz_bytes *bytes);
/* 0 … most */
uint32_t fuzz_upto(struct fuzz_bytes *bytes, uint32_t most);
/* True about once in n times. */
bool fuzz_one_in(struct fuzz_bytes *bytes, uint32_t n);

/* Inputs that got as far as this fuzzer wants to look: printed at exit as
 * "deep: N" for run.py, which wants to see some. */
void fuzz_count_deep(void);

/* Messages of the attacker's, for a fuzzer that sends several for an input:
 * printed at exit as "messages: N". */
void fuzz_count_message(void);

/* While true, every Ed25519 signature verifies. */
extern bool fuzz_signatures_hold;

/* While true, the device signs its evidence with a constant. */
extern bool fuzz_signs_cheaply;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#endif /* HELP_FUZZ_H */
