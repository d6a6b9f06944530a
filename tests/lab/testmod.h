/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The test modules: an exporter of dma-bufs of each model, whose memory is moved and taken away on request, and importers of each
 * kind, which map, hold on and let go as they are told. kernel/test/peerbar_test.h has the values, the structures and the errnos.
 *
 * What returns an int returns -errno if the kernel refused.
 */
#ifndef TESTMOD_H
#define TESTMOD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../../kernel/test/peerbar_test.h"

/* whether the modules are loaded */
bool test_modules_loaded(void);
/* their devices, or the end of the test; close() ends what was begun with them */
int test_exporter_open(void);
int test_importer_open(void);

/* ---- the exporter; @model is enum peerbar_model of <linux/peerbar.h> ---- */

/* the descriptor of a new dma-buf, of @n ranges */
int test_export(int exporter, enum peerbar_test_source source, unsigned int model, const uint64_t *lengths, unsigned int n);
/* the same with one range */
int test_export_one(int exporter, enum peerbar_test_source source, unsigned int model, uint64_t length);
/* move it; which place it is in then, A or B */
int test_move(int exporter, int fd, enum peerbar_test_place to);
/* let it move by itself; 0 stops it */
int test_automove(int exporter, int fd, unsigned int period_ms);
/* take the memory away for now, give it back, take it away for good; those that take wait until importers have let go */
int test_revoke(int exporter, int fd);
int test_restore(int exporter, int fd);
int test_kill(int exporter, int fd);
/* look at, and change the memory, behind the back of everybody */
int test_read(int exporter, int fd, enum peerbar_test_place place, uint64_t offset, void *data, size_t length);
int test_write(int exporter, int fd, enum peerbar_test_place place, uint64_t offset, const void *data, size_t length);
/* where a byte is: the physical address, which place that is, how often the dma-buf moved, how many DMA mappings it has */
int test_where(int exporter, int fd, enum peerbar_test_place place, uint64_t offset, struct peerbar_test_where *where);

/* ---- the importer ---- */

/* a handle; @flags are PEERBAR_TEST_ATTACH_*, @device is a PCI function's address, or NULL for one that is no PCI device */
int test_import_attach(int importer, int fd, enum peerbar_test_kind kind, unsigned int flags, const char *device);
/* the same for the kinds that let go late: after @delay_ms, or PEERBAR_TEST_NEVER */
int test_import_attach_late(int importer, int fd, enum peerbar_test_kind kind, unsigned int flags, const char *device,
			    uint32_t delay_ms);
int test_import_detach(int importer, int handle);
/* map for DMA in both directions; @map may be NULL */
int test_import_map(int importer, int handle, struct peerbar_test_map *map);
int test_import_unmap(int importer, int handle);
/* signal the fence, and let go now of what was to be let go of */
int test_import_release(int importer, int handle);
int test_import_status(int importer, int handle, struct peerbar_test_status *status);
/* the same, and whether one of PEERBAR_TEST_STATUS_* is set; ends the test if there is no such handle */
bool test_import_is(int importer, int handle, unsigned int flag);
/* the memory, as the core tells importers in the kernel */
int test_import_chunks(int importer, int handle, struct peerbar_test_chunks *chunks);
int test_import_pfn(int importer, int handle, uint64_t offset, unsigned int max_order, struct peerbar_test_pfn *pfn);

/* ---- looking; any importer's descriptor will do ---- */

/* the model of a dma-buf, as an importer in the kernel sees it; @declared may be NULL */
int test_model(int importer, int fd, bool *declared);
/* the page table's entry for an address of a process (0: this one), without a page fault */
int test_pte(int importer, pid_t pid, const volatile void *address, struct peerbar_test_pte *pte);
/* make a PCI function one whose BARs cannot be mapped, from when it is next opened, or a mappable one again */
int test_unmappable(int importer, const char *bdf, bool unmappable);

#endif
