/* SPDX-License-Identifier: Apache-2.0 */
/* A device whose X25519 key pair the test chooses. */
#ifndef FAKE_DEVICE_H
#define FAKE_DEVICE_H

#include <stdint.h>

extern uint8_t fake_device_key[32];

#endif /* FAKE_DEVICE_H */
