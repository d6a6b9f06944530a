/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The kernel's interfaces without the library, for programs that race and that pass nonsense: one function for each system call, which
 * returns what it returned, or a negative errno.
 */
#ifndef RAW_H
#define RAW_H

#include <errno.h>
#include <linux/peerbar.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include "../../kernel/test/peerbar_test.h"
#include "uapi.h"

/* ---- descriptors ---- */

int raw_open(const char *path);
/* ioctl() that returns a negative errno */
int raw_ioctl(int fd, unsigned long cmd, const void *arg);
/* a datagram, with a descriptor unless that is -1 */
int raw_send(int sock, const void *data, size_t size, int fd);
/* its size; *fd is -1 if none came with it. -EAGAIN if there is none */
int raw_receive(int sock, void *data, size_t size, int *fd);
/* descriptors that this process has open */
unsigned int raw_count_fds(void);
/* write a word to a file, as those of sysfs; 0 or a negative errno */
int raw_write_file(const char *path, const char *word);
/* the number in a file; -1 if there is no such file */
long raw_read_number(const char *path);

/* ---- drivers ---- */

int raw_unbind(const char *bdf);
/* by driver_override; a negative errno if the function has no driver, or another one, afterwards */
int raw_bind(const char *bdf, const char *driver);
/* the driver's name; "" if there is none */
void raw_driver(const char *bdf, char *name, size_t size);

/* ---- iommufd ---- */

int raw_ioas(int iommufd, uint32_t *ioas);
int raw_map_file(int iommufd, uint32_t ioas, int dmabuf, uint64_t start, uint64_t length, uint32_t flags, uint64_t *iova);
int raw_unmap(int iommufd, uint32_t ioas, uint64_t iova, uint64_t length);

/* ---- VFIO devices ---- */

/* the character device of a function */
int raw_open_cdev(const char *bdf);
int raw_bind_iommufd(int device, int iommufd);
int raw_attach_ioas(int device, uint32_t ioas);
int raw_detach_ioas(int device);
/* where a region is for pread(), pwrite() and mmap() */
int raw_region(int device, unsigned int index, uint64_t *offset, uint64_t *size);
/* VFIO_DEVICE_FEATURE: @payload is copied in and out */
int raw_feature(int device, uint32_t flags, void *payload, size_t size);

#define RAW_RANGES 8

struct raw_range {
	uint64_t offset;
	uint64_t length;
};

int raw_export(int device, unsigned int bar, const struct raw_range *ranges, unsigned int n, uint32_t open_flags);
int raw_cookie(int device, unsigned int bar, uint64_t offset, uint64_t length, uint32_t memattr, uint64_t *mmap_offset);
int raw_revoke(int device, int dmabuf);
int raw_set_memattr(int device, int dmabuf, uint32_t memattr);
int raw_get_memattr(int device, int dmabuf, uint32_t *memattr);

/* the configuration space, which begins at @config */
int raw_decoding(int device, uint64_t config, bool on);
/* D3hot or D0, by the power management capability at @pm */
int raw_power(int device, uint64_t config, unsigned int pm, bool on);
/* where a capability is; 0 if there is none */
unsigned int raw_find_cap(int device, uint64_t config, uint8_t id);
int raw_reset(int device);
int raw_hot_reset(int device);

/* ---- /dev/peerbar and the test devices ---- */

int raw_query(int peerbar, int dmabuf, struct peerbar_query *query);
int raw_test_export(int exporter, uint32_t source, uint32_t model, const uint64_t *lengths, unsigned int n);
int raw_test_io(int exporter, int dmabuf, bool write, uint64_t offset, void *data, size_t length);
/* MOVE to the other place */
int raw_test_move(int exporter, int dmabuf);
/* REVOKE, RESTORE, KILL */
int raw_test_access(int exporter, int dmabuf, unsigned long cmd);
int raw_test_attach(int importer, int dmabuf, uint32_t kind, uint32_t flags, uint32_t delay_ms, const char *bdf);
int raw_test_map(int importer, uint32_t handle);
/* UNMAP, DETACH, RELEASE */
int raw_test_handle(int importer, uint32_t handle, unsigned long cmd);

/* ---- generic netlink ---- */

struct raw_genl {
	int fd;
	uint16_t family;
	uint32_t group;
	uint32_t seq;
};

/* what a message tells of a buffer; what it does not tell is 0 */
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

/* a socket of the family; it hears events if @events. -ENOENT if there is no such family */
int raw_genl_open(struct raw_genl *g, bool events);
int raw_genl_get(struct raw_genl *g, uint64_t id, struct raw_buffer *buffer);
/* the number of buffers; @each is called with every one unless it is NULL */
int raw_genl_dump(struct raw_genl *g, void (*each)(void *arg, const struct raw_buffer *buffer), void *arg);
/* the next event's command; -EAGAIN if there is none, -ENOBUFS if some were lost */
int raw_genl_event(struct raw_genl *g, struct raw_buffer *buffer);

/* ---- choices ---- */

/* the next of a sequence of numbers that looks random; @state is all there is to it */
uint64_t raw_random(uint64_t *state);

#endif
