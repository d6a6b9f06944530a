/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Shared by the parts of the demonstration. */
#ifndef DEMO_H
#define DEMO_H

#include "lab.h"

typedef unsigned long long ull;

extern struct pb_error err;

void step(const char *what);
bool check(bool ok, const char *what);
/* Print the first bytes of a buffer. */
void show(const char *whose, const void *bytes);
/* Check that a call succeeded, or exit. */
void must(int ret);

/* The second part: the additions of peerbar's modules. */
void demo_modules(void);
/* The third part: dma-bufs of other exporters, mapped by iommufd. */
void demo_bridge(void);
/* The fourth part: RDMA. */
void demo_rdma(void);
/* The last part: RDMA from another host. Needs pb0, which demo_rdma() leaves. */
void demo_hosts(void);

#endif
