/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What the parts of the demonstration share. */
#ifndef DEMO_H
#define DEMO_H

#include "lab.h"

typedef unsigned long long ull;

extern struct pb_error err;

void step(const char *what);
bool check(bool ok, const char *what);
/* the first bytes of something */
void show(const char *whose, const void *bytes);
/* the call worked, or the demonstration ends */
void must(int ret);

/* the second part: what our modules add */
void demo_modules(void);
/* the third: RDMA */
void demo_rdma(void);

#endif
