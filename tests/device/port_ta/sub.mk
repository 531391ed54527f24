# SPDX-License-Identifier: Apache-2.0
cflags-y += -Wall -Wextra -Werror
cppflags-y += -I../../../engine/include
ifeq ($(UC_TICKS),1)
cppflags-y += -DUC_TICKS
endif
global-incdirs-y += .
srcs-y += main.c
srcs_ext_base-y := ../../..
srcs_ext-y += engine/port/ed25519_libcrypto.c
srcs_ext-y += engine/port/port_optee.c engine/port/aes_gcm_armv8.c \
	engine/port/aead.c engine/port/aegis_armv8.c \
	engine/port/chacha20_poly1305_armv8.c \
	engine/port/memory_armv8.c ta/src/key_object.c ta/src/keys.c
cflags-engine/port/memory_armv8.c-y += -O3 -mno-strict-align -ffreestanding \
	-fno-tree-loop-distribute-patterns
cflags-engine/port/aegis_armv8.c-y += -O3 -mno-strict-align
cflags-engine/port/aes_gcm_armv8.c-y += -O3 -mno-strict-align
