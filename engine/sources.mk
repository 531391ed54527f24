# SPDX-License-Identifier: Apache-2.0
#
# The engine's sources, for this folder's Makefile and for the Trusted
# Application's. Set ENGINE_DIR (this folder) and KERNELS before including it.

# State machines, parsers, checks: for size and hardening.
UC_CONTROL_SOURCES := $(filter-out %/io.c %/program.c %/run.c, \
	$(sort $(wildcard $(ENGINE_DIR)/src/*.c)))

# Everything that touches every element, and what decodes an operator for each of
# its steps: -O3, and on arm64 -mno-strict-align.
UC_COMPUTE_SOURCES := $(ENGINE_DIR)/src/io.c \
	$(ENGINE_DIR)/src/program.c $(ENGINE_DIR)/src/run.c \
	$(sort $(wildcard $(ENGINE_DIR)/src/ops/*.c)) \
	$(filter-out $(ENGINE_DIR)/src/kernels/kernels_%, \
		$(sort $(wildcard $(ENGINE_DIR)/src/kernels/*.c))) \
	$(ENGINE_DIR)/src/kernels/kernels_$(KERNELS).c

UC_HOST_PORT_SOURCES := $(ENGINE_DIR)/port/port_host.c \
	$(ENGINE_DIR)/port/port_host_crypto.c $(ENGINE_DIR)/port/aead.c \
	$(ENGINE_DIR)/port/aegis_libaegis.c

# The host's AEGIS, compiled from libaegis's source as it comes (AEGIS_DIR).
UC_AEGIS_SOURCES := common/cpu.c common/softaes.c \
	$(addprefix aegis128l/aegis128l,.c _soft.c _aesni.c _neon_aes.c \
		_neon_sha3.c)

UC_INCLUDES := -I$(ENGINE_DIR)/include -I$(ENGINE_DIR)/src \
	-I$(ENGINE_DIR)/src/kernels -I$(ENGINE_DIR)/src/ops
UC_WARNINGS := -Wall -Wextra -Werror -Wconversion -Wswitch-enum
