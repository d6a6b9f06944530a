/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* A memory backend of perftest whose buffers are in a BAR. README.md tells how perftest gets it. */
#ifndef PEERBAR_MEMORY_H
#define PEERBAR_MEMORY_H

struct perftest_parameters;

/*
 * The option --use_peerbar=@place, which is one of
 *
 *	BDF:BAR[+OFFSET]	a BAR of a device that is bound to vfio-pci or peerbar-vfio-pci, from OFFSET on
 *	FD[+OFFSET]		a dma-buf that was inherited
 *	PID:FD[+OFFSET]		a dma-buf of another process, as 'peerbar export --hold' prints it
 *
 * SUCCESS, or FAILURE after a sentence on stderr.
 */
int peerbar_memory_option(struct perftest_parameters *params, const char *place);

/* print what --help tells of it */
void peerbar_memory_usage(void);

#endif
