/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A memory backend of perftest with buffers in a BAR. README.md describes how to add it to
 * perftest.
 */
#ifndef PEERBAR_MEMORY_H
#define PEERBAR_MEMORY_H

struct perftest_parameters;

/*
 * Parse the option --use_peerbar=@place, which is one of
 *
 *	BDF:BAR[+OFFSET]	a BAR, from OFFSET on, of a device bound to vfio-pci or
 *				peerbar-vfio-pci
 *	FD[+OFFSET]		an inherited dma-buf
 *	PID:FD[+OFFSET]		a dma-buf of another process, as 'peerbar export --hold' prints it
 *
 * Returns SUCCESS, or FAILURE after an error on stderr.
 */
int peerbar_memory_option(struct perftest_parameters *params, const char *place);

/* Print the option's part of --help. */
void peerbar_memory_usage(void);

#endif
