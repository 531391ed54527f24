/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host port's idea of "this device". Several may live in one process: the
 * host library says which one a thread acts for before it calls the engine.
 */
#ifndef UC_PORT_HOST_H
#define UC_PORT_HOST_H

#include <stdint.h>

#include "uc_state.h"

/* An X25519 private key (RFC 7748), or NULL for none. Not copied: it must
 * live until another is set by the same thread. */
void uc_port_host_use_device(const uint8_t private_key[32]);

/*
 * Where this device keeps its state: in `data`, and in a file of the caller's
 * when there is a path, which is read at each load and replaced at each store.
 * Nothing protects either: this is a stand-in for secure storage.
 */
struct uc_port_host_state {
	const char *path; /* NULL: in memory alone */
	/* For tests: so many stores work, then all fail; negative: all work. */
	int32_t stores_left;
	/* For tests: the clock, instead of this machine's; 0: this machine's. */
	uint64_t clock_ms;
	uint8_t data[UC_STATE_BYTES];
};

/* NULL for none: every load and store then fails. Not copied. */
void uc_port_host_use_state(struct uc_port_host_state *state);

#endif /* UC_PORT_HOST_H */
