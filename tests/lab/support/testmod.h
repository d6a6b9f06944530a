/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The test modules: an exporter of dma-bufs of each model, whose memory moves and is revoked on
 * request, and importers of each kind, which map, unmap and delay on request.
 * kernel/test/peerbar_test.h defines the values, the structures and the errnos.
 *
 * A function that returns int returns -errno if the kernel fails the request.
 */
#ifndef TESTMOD_H
#define TESTMOD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../../../kernel/test/peerbar_test.h"

/* Return whether the modules are loaded. */
bool test_modules_loaded(void);
/*
 * Open their devices, or exit. close() releases all objects that were created with the descriptor.
 */
int test_exporter_open(void);
int test_importer_open(void);

/* ---- the exporter; @model is enum peerbar_model of <linux/peerbar.h> ---- */

/* Return the descriptor of a new dma-buf with @n ranges. */
int test_export(int exporter, enum peerbar_test_source source, unsigned int model,
		const uint64_t *lengths, unsigned int n);
/* The same with one range. */
int test_export_one(int exporter, enum peerbar_test_source source, unsigned int model,
		    uint64_t length);
/* Return the descriptor of a new dma-buf in a BAR of @device; PEERBAR_TEST_VRAM_* */
int test_export_vram(int exporter, const char *device, unsigned int flags,
		     const struct peerbar_test_vram_segment *segments, unsigned int n);
/* Let an operation of the exporter fail, @times times, or always if 0. */
int test_fail(int exporter, int fd, enum peerbar_test_operation operation, unsigned int error,
	      unsigned int times);
/* Move it. Return the place where it is then: A, B or SYSTEM. */
int test_move(int exporter, int fd, enum peerbar_test_place to);
/* Move it periodically; 0 stops that. */
int test_automove(int exporter, int fd, unsigned int period_ms);
/*
 * Revoke the memory temporarily, restore it, revoke it permanently. Revoking waits until importers
 * have unmapped.
 */
int test_revoke(int exporter, int fd);
int test_restore(int exporter, int fd);
int test_kill(int exporter, int fd);
/* From BEGIN to END, the exporter copies the memory to its place: importers wait for a fence. */
int test_copy_begin(int exporter, int fd);
int test_copy_end(int exporter, int fd);
/* Read and write the memory without any importer's involvement. */
int test_read(int exporter, int fd, enum peerbar_test_place place, uint64_t offset, void *data,
	      size_t length);
int test_write(int exporter, int fd, enum peerbar_test_place place, uint64_t offset,
	       const void *data, size_t length);
/*
 * Return the physical address and place of a byte, the number of moves of the dma-buf, and the
 * number of its DMA mappings.
 */
int test_where(int exporter, int fd, enum peerbar_test_place place, uint64_t offset,
	       struct peerbar_test_where *where);

/* ---- the importer ---- */

/*
 * Return a handle. @flags are PEERBAR_TEST_ATTACH_*. @device is a PCI function's address, or NULL
 * for a device that is not on PCI.
 */
int test_import_attach(int importer, int fd, enum peerbar_test_kind kind, unsigned int flags,
		       const char *device);
/* The same for the kinds that unmap late: after @delay_ms, or PEERBAR_TEST_NEVER. */
int test_import_attach_late(int importer, int fd, enum peerbar_test_kind kind, unsigned int flags,
			    const char *device, uint32_t delay_ms);
int test_import_detach(int importer, int handle);
/* Map for DMA in both directions. @map may be NULL. */
int test_import_map(int importer, int handle, struct peerbar_test_map *map);
int test_import_unmap(int importer, int handle);
/* Signal the fence, and do the delayed unmap now. */
int test_import_release(int importer, int handle);
int test_import_status(int importer, int handle, struct peerbar_test_status *status);
/*
 * The same. Return whether @flag, one of PEERBAR_TEST_STATUS_*, is set. Exit if there is no such
 * handle.
 */
bool test_import_is(int importer, int handle, unsigned int flag);
/* The memory, as the core reports it to importers in the kernel. */
int test_import_chunks(int importer, int handle, struct peerbar_test_chunks *chunks);
int test_import_pfn(int importer, int handle, uint64_t offset, unsigned int max_order,
		    struct peerbar_test_pfn *pfn);

/* ---- inspection; works with any importer's descriptor ---- */

/* Return the model of a dma-buf, as an importer in the kernel sees it. @declared may be NULL. */
int test_model(int importer, int fd, bool *declared);
/* Return the page table entry of an address of a process (0: this one), without a page fault. */
int test_pte(int importer, pid_t pid, const volatile void *address, struct peerbar_test_pte *pte);
/* Make a PCI function's BARs unmappable from its next open on, or mappable again. */
int test_unmappable(int importer, const char *bdf, bool unmappable);

#endif
