/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host port's idea of "this device". Several may live in one process: the
 * host library says which one a thread acts for before it calls the engine.
 */
#ifndef UC_PORT_HOST_H
#define UC_PORT_HOST_H

#include <stdint.h>

/* An X25519 private key (RFC 7748), or NULL for none. Not copied: it must
 * live until another is set by the same thread. */
void uc_port_host_use_device(const uint8_t private_key[32]);

#endif /* UC_PORT_HOST_H */
