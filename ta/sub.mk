# SPDX-License-Identifier: Apache-2.0
#
# Sources and flags, in the language of the TA development kit. Names below
# srcs_ext_base-y are relative to the folder above.

ENGINE_DIR := ../engine
include $(ENGINE_DIR)/sources.mk

# The kit compiles for size and without unaligned access, which turns vector
# code into scalar loads: three to seven times the instructions.
fast := -O3 -mno-strict-align

cflags-y += $(UC_WARNINGS) -Wshadow -Wstrict-prototypes -Wmissing-prototypes
cppflags-y += -I$(O)/policy $(UC_INCLUDES) -isystem $(GEN_DIR)
# user_ta_header.c of the kit includes user_ta_header_defines.h.
global-incdirs-y += include

ifeq ($(UC_BUILD),release)
cppflags-y += -DUC_RELEASE
else ifeq ($(UC_TICKS),1)
cppflags-y += -DUC_TICKS
endif
ifneq ($(UC_ARENA_BYTES),)
cppflags-y += -DUC_ARENA_BYTES=$(UC_ARENA_BYTES)
endif

srcs-y += src/entry.c src/params.c src/registers.c src/key_object.c src/keys.c src/policy.c \
	src/attestation.c

srcs_ext_base-y := ..
below = $(patsubst ../%,%,$1)
memory-src := engine/port/memory_armv8.c
compute-srcs := $(call below,$(UC_COMPUTE_SOURCES)) $(memory-src)
srcs_ext-y += engine/port/ed25519_libcrypto.c
srcs_ext-y += $(call below,$(UC_CONTROL_SOURCES)) $(compute-srcs) \
	engine/port/port_optee.c engine/port/aead.c \
	engine/port/chacha20_poly1305_armv8.c
ifneq ($(UC_ARMV8_CRYPTO),0)
crypto-srcs := engine/port/aes_gcm_armv8.c engine/port/aegis_armv8.c
srcs_ext-y += $(crypto-srcs)
$(foreach f,$(crypto-srcs),$(eval cflags-$f-y += $(fast)))
else
cppflags-y += -DUC_NO_ARMV8_CRYPTO
endif
$(foreach f,$(compute-srcs),$(eval cflags-$f-y += $(fast)))
# The compiler must not turn memcpy's loop into a call of memcpy.
cflags-$(memory-src)-y += -ffreestanding -fno-tree-loop-distribute-patterns

# zcbor's runtime and the decoders it wrote are not ours; their flags come
# with them.
gen-c-files := $(sort $(wildcard $(GEN_DIR)/*.c))
gen-flags := $(shell cat $(GEN_DIR)/flags.txt 2>/dev/null)
srcs-y += $(gen-c-files)
$(foreach f,$(gen-c-files),$(eval cflags-$f-y += $(gen-flags)))
