/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* peerbar doctor A B */
#ifndef PBT_DOCTOR_REACH_H
#define PBT_DOCTOR_REACH_H

#include "findings.h"

/*
 * Add findings: whether function @from can reach the memory of function @to. Returns an exit status:
 * not STATUS_OK, after a report, only if one of them does not exist.
 */
int check_reach(struct findings *all, const char *from, const char *to);

#endif
