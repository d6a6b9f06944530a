/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Hotplug of devices through QEMU's monitor. */
#ifndef HOTPLUG_H
#define HOTPLUG_H

#include "fixture.h"

/* Run a command that must succeed. */
void qmp(const char *command);
/* Plug a second GPU whose BAR 2 has @size bytes: 1 GiB, or less. Return its address in @bdf. */
void gpu_plug(char bdf[PB_BDF_LEN], uint64_t size);
/* Request removal from the guest, which takes some seconds. */
void gpu_pull(void);
/* Return whether the GPU is present; wait until it is, or is gone. */
bool gpu_plugged(char bdf[PB_BDF_LEN], uint64_t size);
void gpu_wait(char bdf[PB_BDF_LEN], uint64_t size, bool there);
/* Wait until QEMU has released its memory. */
void gpu_forget_memory(uint64_t size);
/* The second NIC: request removal and wait until it is gone; plug it again. */
void nic_pull(const char *bdf);
void nic_plug(const char *bdf);

#endif
