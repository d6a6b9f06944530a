/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The kernel's interfaces without the library, for programs that race or pass invalid arguments:
 * one function per system call. Each returns the system call's result, or a negative errno.
 */
#ifndef RAW_IOCTL_H
#define RAW_IOCTL_H

#include <errno.h>
#include <linux/peerbar.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include "../../../kernel/test/peerbar_test.h"
#include "uapi.h"

/* ---- descriptors ---- */

int raw_open(const char *path);
/* ioctl() that returns a negative errno. */
int raw_ioctl(int fd, unsigned long cmd, const void *arg);
/* Send a datagram, with a descriptor unless @fd is -1. */
int raw_send(int sock, const void *data, size_t size, int fd);
/*
 * Return the datagram's size, or -EAGAIN if there is none. *fd is -1 if no descriptor came with it.
 */
int raw_receive(int sock, void *data, size_t size, int *fd);
/* Count the descriptors that this process has open. */
unsigned int raw_count_fds(void);
/* Write a word to a file, e.g. in sysfs. Return 0 or a negative errno. */
int raw_write_file(const char *path, const char *word);
/* Return the number in a file, or -1 if the file cannot be read. */
long raw_read_number(const char *path);

/* ---- drivers ---- */

int raw_unbind(const char *bdf);
/* Bind with driver_override. Fails if the function has no driver, or another one, afterwards. */
int raw_bind(const char *bdf, const char *driver);
/* Copy the driver's name; "" if there is none. */
void raw_driver(const char *bdf, char *name, size_t size);

/* ---- iommufd ---- */

int raw_ioas(int iommufd, uint32_t *ioas);
int raw_map_file(int iommufd, uint32_t ioas, int dmabuf, uint64_t start, uint64_t length,
		 uint32_t flags, uint64_t *iova);
int raw_unmap(int iommufd, uint32_t ioas, uint64_t iova, uint64_t length);

/* ---- VFIO devices ---- */

/* Open a function's character device. */
int raw_open_cdev(const char *bdf);
int raw_bind_iommufd(int device, int iommufd);
int raw_attach_ioas(int device, uint32_t ioas);
int raw_detach_ioas(int device);
/* Return a region's offset for pread(), pwrite() and mmap(), and its size. */
int raw_region(int device, unsigned int index, uint64_t *offset, uint64_t *size);
/* VFIO_DEVICE_FEATURE: copies @payload in and out. */
int raw_feature(int device, uint32_t flags, void *payload, size_t size);

#define RAW_RANGES 8

struct raw_range {
	uint64_t offset;
	uint64_t length;
};

int raw_export(int device, unsigned int bar, const struct raw_range *ranges, unsigned int n,
	       uint32_t open_flags);
int raw_cookie(int device, unsigned int bar, uint64_t offset, uint64_t length, uint32_t memattr,
	       uint64_t *mmap_offset);
int raw_revoke(int device, int dmabuf);
int raw_set_memattr(int device, int dmabuf, uint32_t memattr);
int raw_get_memattr(int device, int dmabuf, uint32_t *memattr);

/* Set memory decoding. @config is the offset of the configuration space. */
int raw_decoding(int device, uint64_t config, bool on);
/* Enter D0 or D3hot with the power management capability at @pm. */
int raw_power(int device, uint64_t config, unsigned int pm, bool on);
/* Return the offset of a capability, or 0 if there is none. */
unsigned int raw_find_cap(int device, uint64_t config, uint8_t id);
int raw_reset(int device);
int raw_hot_reset(int device);

/* ---- /dev/peerbar and the test devices ---- */

int raw_query(int peerbar, int dmabuf, struct peerbar_query *query);
int raw_test_export(int exporter, uint32_t source, uint32_t model, const uint64_t *lengths,
		    unsigned int n);
int raw_test_io(int exporter, int dmabuf, bool write, uint64_t offset, void *data, size_t length);
/* MOVE to the other place. */
int raw_test_move(int exporter, int dmabuf);
/* @cmd is REVOKE, RESTORE or KILL. */
int raw_test_access(int exporter, int dmabuf, unsigned long cmd);
int raw_test_attach(int importer, int dmabuf, uint32_t kind, uint32_t flags, uint32_t delay_ms,
		    const char *bdf);
int raw_test_map(int importer, uint32_t handle);
/* @cmd is UNMAP, DETACH or RELEASE. */
int raw_test_handle(int importer, uint32_t handle, unsigned long cmd);

/* ---- generic netlink ---- */

struct raw_genl {
	int fd;
	uint16_t family;
	uint32_t group;
	uint32_t seq;
};

/* A buffer's attributes in a message; 0 if the message lacks them. */
struct raw_buffer {
	uint64_t id;
	uint64_t size;
	uint32_t model;
	uint32_t state;
	uint32_t memattr;
	uint32_t nr_ranges;
	uint32_t importers;
	uint32_t mmaps;
	uint32_t creator;
	unsigned int ranges_told;
	unsigned int importers_told;
	char exporter[64];
	char device[32];
	char name[32];
};

/*
 * Open a socket of the family, subscribed to events if @events. -ENOENT if there is no such family.
 */
int raw_genl_open(struct raw_genl *g, bool events);
int raw_genl_get(struct raw_genl *g, uint64_t id, struct raw_buffer *buffer);
/* Return the number of buffers. Call @each for every buffer unless it is NULL. */
int raw_genl_dump(struct raw_genl *g, void (*each)(void *arg, const struct raw_buffer *buffer),
		  void *arg);
/* Return the next event's command, -EAGAIN if there is none, or -ENOBUFS if events were lost. */
int raw_genl_event(struct raw_genl *g, struct raw_buffer *buffer);

/* ---- random numbers ---- */

/* Return the next number of a pseudo-random sequence that @state alone determines. */
uint64_t raw_random(uint64_t *state);

#endif
