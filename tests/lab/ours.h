/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the tests of our modules share: the features of peerbar-vfio-pci and /dev/peerbar as the kernel has them, below the library,
 * accesses that may raise SIGBUS, and page tables as they are.
 */
#ifndef OURS_H
#define OURS_H

#include <linux/peerbar.h>

#include "fixture.h"

/* load a kernel module, or end the test; unload one: 0, or -errno as -EBUSY while it is in use */
void module_load(const char *name);
int module_unload(const char *name);

/* the bench with our driver below it, all modules loaded */
void ours_up(void);
void ours_down(void);

/* VFIO_DEVICE_FEATURE: -errno, or what the ioctl returns. @flags: VFIO_DEVICE_FEATURE_GET, SET, PROBE */
int feature(struct pb_device *device, uint32_t flags, uint32_t number, void *data, size_t size);
int feature_revoke(struct pb_device *device, int fd);
int feature_set_memattr(struct pb_device *device, int fd, uint32_t memattr);
/* the attribute, or -errno */
int feature_memattr(struct pb_device *device, int fd);
int feature_cookie(struct pb_device *device, uint32_t bar, uint64_t offset, uint64_t length, uint32_t memattr, uint64_t *mmap_offset);

/* what /dev/peerbar says of a dma-buf */
struct peerbar_query query(int fd);
/* that it is one of ours in this state */
void state_is(int fd, enum peerbar_state state);

/* how many buffers the kernel lists */
unsigned int count_listed(void);

/* mmap() for reading and writing, shared; NULL and errno */
uint8_t *map_fd(int fd, uint64_t offset, size_t length);
/* the same at an address aligned to @align, plus @skew: so that huge pages are possible, or not */
uint8_t *map_fd_aligned(int fd, uint64_t offset, size_t length, size_t align, size_t skew);

/* accesses: false if they raise SIGBUS */
bool can_read(const volatile void *p, uint8_t *byte);
bool can_write(volatile void *p, uint8_t byte);

/* what the page table has for an address: its frame, cache mode and size. False if there is nothing */
struct peerbar_test_pte;
bool page_table(const volatile void *p, struct peerbar_test_pte *pte);

/* a line of /proc/self/maps; false if the address is in none */
bool maps_line(const void *p, uint64_t *offset, char *name, size_t size);

/* wait until a process is gone; its exit status, or 128 + signal */
int wait_for(int pid);

#endif
