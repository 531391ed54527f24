/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plugin for QEMU's user-mode emulation: between two marks (getppid) it counts
 * how often each byte of the memory is accessed that the first mark names in its
 * first two arguments, and prints a line on standard error: "accesses LEAST MOST".
 */
#include "qemu_plugin.h"

#include <string.h>

#define MAX_BYTES (1U << 20)

static uint64_t begin;
static uint64_t len;
static uint16_t times[MAX_BYTES];

static void on_access(unsigned int vcpu, uint32_t info, uint64_t address,
		      void *data)
{
	uint64_t size = 1U << qemu_plugin_mem_size_shift(info);

	(void)vcpu, (void)data;
	for (uint64_t i = 0; i < size; i++) {
		if (address + i - begin < len)
			times[address + i - begin]++;
	}
}

static void on_translate(plugin_id id, struct qemu_plugin_tb *tb)
{
	(void)id;
	for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++)
		qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(tb, i),
						 on_access, NO_REGISTERS,
						 READS_AND_WRITES, NULL);
}

static void print(void)
{
	uint16_t least = UINT16_MAX;
	uint16_t most = 0;

	for (uint64_t i = 0; i < len; i++) {
		least = times[i] < least ? times[i] : least;
		most = times[i] > most ? times[i] : most;
	}
	fprintf(stderr, "accesses %u %u\n", least, most);
}

static void mark(uint64_t address, uint64_t size)
{
	if (size == 0)
		print();
	begin = address;
	len = size <= MAX_BYTES ? size : 0;
	memset(times, 0, sizeof(times));
}
