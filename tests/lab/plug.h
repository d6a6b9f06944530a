/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Devices that come and go while the machine runs, by QEMU's monitor. */
#ifndef PLUG_H
#define PLUG_H

#include "fixture.h"

/* a command that must succeed */
void qmp(const char *command);
/* a second GPU, with a BAR 2 of @size: 1 GiB, or less; @bdf receives its address */
void gpu_plug(char bdf[PB_BDF_LEN], uint64_t size);
/* ask the guest to let go of it, which takes some seconds */
void gpu_pull(void);
/* whether it is there; wait until it is, or is gone */
bool gpu_plugged(char bdf[PB_BDF_LEN], uint64_t size);
void gpu_wait(char bdf[PB_BDF_LEN], uint64_t size, bool there);
/* wait until QEMU has let go of its memory */
void gpu_forget_memory(uint64_t size);
/* the second NIC: ask the guest to let go of it, and wait until it is gone; put it back */
void nic_pull(const char *bdf);
void nic_plug(const char *bdf);

#endif
