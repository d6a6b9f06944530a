/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Bindings that survive a reboot. */
#ifndef PBT_PERSIST_H
#define PBT_PERSIST_H

#include "tool.h"

/* Bind @f to @driver at each boot. Returns an exit status. */
int persist_binding(const struct pb_pci_function *f, const char *driver);
/* No longer. Returns an exit status, also STATUS_OK if there was no such binding. */
int forget_binding(const char *bdf);
bool is_persistent(const char *bdf);

#endif
