/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Helpers of the tests of peerbar's modules: the features of peerbar-vfio-pci and /dev/peerbar
 * without the library, accesses that may raise SIGBUS, and the contents of page tables.
 */
#ifndef MODULES_H
#define MODULES_H

#include <linux/peerbar.h>

#include "fixture.h"

/* Load a module, or exit. Unload one: 0, or -errno, e.g. -EBUSY while it is in use. */
void module_load(const char *name);
int module_unload(const char *name);

/* The common fixture with peerbar-vfio-pci, and all modules loaded. */
void modules_up(void);
void modules_down(void);

/*
 * VFIO_DEVICE_FEATURE with @flags VFIO_DEVICE_FEATURE_GET, SET or PROBE. Return the ioctl's result,
 * or -errno.
 */
int feature(struct pb_device *device, uint32_t flags, uint32_t number, void *data, size_t size);
int feature_revoke(struct pb_device *device, int fd);
int feature_set_memattr(struct pb_device *device, int fd, uint32_t memattr);
/* Return the attribute, or -errno. */
int feature_memattr(struct pb_device *device, int fd);
int feature_cookie(struct pb_device *device, uint32_t bar, uint64_t offset, uint64_t length,
		   uint32_t memattr, uint64_t *mmap_offset);

/* Query a dma-buf with /dev/peerbar. */
struct peerbar_query query(int fd);
/* Check that peerbar exported the dma-buf and that it has this state. */
void state_is(int fd, enum peerbar_state state);

/* Return the number of buffers that the kernel lists. */
unsigned int count_listed(void);

/* mmap() shared, for reading and writing; NULL and errno on failure. */
uint8_t *map_fd(int fd, uint64_t offset, size_t length);
/* The same at an address aligned to @align, plus @skew, to permit or prevent huge pages. */
uint8_t *map_fd_aligned(int fd, uint64_t offset, size_t length, size_t align, size_t skew);

/* Access memory. Return false if that raises SIGBUS. */
bool can_read(const volatile void *p, uint8_t *byte);
bool can_write(volatile void *p, uint8_t byte);

/*
 * Return the frame, cache mode and size of an address's page table entry. False if there is none.
 */
struct peerbar_test_pte;
bool page_table(const volatile void *p, struct peerbar_test_pte *pte);

/* Wait until the importer, of a descriptor of the test importer, was invalidated. */
void wait_until_stale(int import_fd, int handle);

/*
 * Wait until another task has revoked a buffer for good: it is DEAD first, then unmapped at @p in
 * this process, then in the IOMMU.
 */
void wait_until_dead(int fd, const volatile void *p);

/*
 * Start a process that revokes the buffer, or queries it, with a system call that a signal can
 * interrupt. Its exit status is the errno.
 */
int asking_process(int fd, bool revoke);

/* Wait until a process has ended. Return its exit status, or 128 + signal. */
int wait_for(int pid);
/* The same, but fail if that takes longer than @limit seconds. @what is for the message. */
int ends(int pid, unsigned int limit, const char *what);

#endif
