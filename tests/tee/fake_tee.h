/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A FAKE of the GlobalPlatform TEE Internal Core API, and of the few system
 * calls of OP-TEE that the Trusted Application makes: as much of them as its
 * boundary asks for, on this machine, without any protection. Here gcov sees
 * which of its lines run, and every call that may fail can be made to. What it
 * computes is OpenSSL's; how OP-TEE behaves is what the board shows.
 */
#ifndef FAKE_TEE_H
#define FAKE_TEE_H

#include <stdint.h>

/* A device that nobody has used: no objects, no faults, the clock at 0. */
void fake_tee_reset(void);

/* The nth call from now that may fail, counted from 1, returns this code; and
 * each after it, when it goes on. 0: none does. */
void fake_tee_fail(uint32_t nth, uint32_t code, uint32_t goes_on);

/* Calls that may fail since fake_tee_fail(), and the name of the last one that
 * did, or "". */
uint32_t fake_tee_calls(void);
const char *fake_tee_failed(void);

/* Objects, operations, sessions and memory that were not given back. */
uint32_t fake_tee_held(void);

/* How often the Trusted Application panicked, or cleared its registers. */
uint32_t fake_tee_panics(void);
uint32_t fake_tee_forgotten(void);

void fake_tee_clock(uint64_t milliseconds);

/* Whether there is an attestation pseudo-TA, and how long an answer it has. */
void fake_tee_attestation(uint32_t is_there, uint32_t evidence_bytes);

#endif /* FAKE_TEE_H */
