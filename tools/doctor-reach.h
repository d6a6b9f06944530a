/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* peerbar doctor A B */
#ifndef PBT_DOCTOR_REACH_H
#define PBT_DOCTOR_REACH_H

#include "findings.h"

/* The option --dma: the page of @to that may be overwritten for a moment. */
struct dma_option {
	unsigned int bar;
	uint64_t offset;
	bool force; /* also if the BAR is not prefetchable */
};

/*
 * Add findings: whether function @from can reach the memory of function @to, and with @dma, which
 * may be NULL, whether its DMA does. Returns an exit status: not STATUS_OK, after a report, only if
 * one of them does not exist.
 */
int check_reach(struct findings *all, const char *from, const char *to,
		const struct dma_option *dma);

#endif
