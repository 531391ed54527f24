# SPDX-License-Identifier: Apache-2.0
#
# Sources and flags, in the language of the TA development kit. Names below
# srcs_ext_base-y are relative to the folder above.

warnings := -Wall -Wextra -Werror -Wconversion -Wswitch-enum -Wshadow \
	-Wstrict-prototypes -Wmissing-prototypes
# The kit compiles for size and without unaligned access, which turns vector
# code into scalar loads: three to seven times the instructions.
fast := -O3 -mno-strict-align

cflags-y += $(warnings)
cppflags-y += -I$(O)/policy -I../engine/include -I../engine/src \
	-I../engine/src/kernels -I../engine/src/ops -Iinclude -I$(CBOR_DIR)
ifeq ($(UC_BUILD),release)
cppflags-y += -DUC_RELEASE
else ifeq ($(UC_TICKS),1)
cppflags-y += -DUC_TICKS
endif
ifneq ($(UC_ARENA_BYTES),)
cppflags-y += -DUC_ARENA_BYTES=$(UC_ARENA_BYTES)
endif
# user_ta_header.c of the kit includes user_ta_header_defines.h.
global-incdirs-y += include

srcs-y += src/entry.c src/params.c src/keys.c src/policy.c

srcs_ext_base-y := ..
below = $(patsubst ../%,%,$(sort $(wildcard ../$1)))

engine-srcs := $(call below,engine/src/*.c)
compute-srcs := $(call below,engine/src/ops/*.c) \
	$(filter-out engine/src/kernels/kernels_%, \
		$(call below,engine/src/kernels/*.c)) \
	engine/src/kernels/kernels_$(UC_KERNELS).c \
	engine/port/memory_armv8.c
srcs_ext-y += $(engine-srcs) $(compute-srcs) \
	engine/port/port_optee.c engine/port/aes_gcm_armv8.c

$(foreach f,$(compute-srcs) engine/src/io.c,$(eval cflags-$f-y += $(fast)))
# The compiler must not turn memcpy's loop into a call of memcpy.
cflags-engine/port/memory_armv8.c-y += -ffreestanding \
	-fno-tree-loop-distribute-patterns

# zcbor's runtime and the decoders it wrote are not ours; their flags come
# with them.
cbor-srcs := $(sort $(wildcard $(CBOR_DIR)/*.c))
srcs-y += $(cbor-srcs)
cbor-flags := $(shell cat $(CBOR_DIR)/flags.txt 2>/dev/null)
$(foreach f,$(cbor-srcs),$(eval cflags-$f-y += $(cbor-flags)))
