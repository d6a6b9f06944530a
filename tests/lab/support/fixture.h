/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The common fixture: the GPU as exporter, edu as DMA engine in one address space, and memory for
 * patterns. Each test runs in a process of its own with a new fixture. Teardown checks that no
 * descriptor leaks and that no unexpected fault happened.
 */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <signal.h>
#include <sys/mman.h>

#include "../../sentence.h"
#include "lab.h"
#include "suite.h"

#define RW	    (PB_MAP_READ | PB_MAP_WRITE)
#define MEMORY_IOVA (1 * MIB) /* of fixture.memory, so that tests know the addresses around it */
#define LEN	    1024      /* bytes of a DMA, where the size does not matter */

struct fixture {
	struct pb_iommu *iommu;
	struct pb_device *gpu;
	struct pb_device *edu_device;
	struct pb_ioas *ioas; /* edu is attached to it */
	struct edu edu;
	struct lab_memory memory; /* four pages, mapped in ioas */
};

/* Of the running test, which has a process of its own. */
extern struct fixture fixture;

/* Set up and tear down the fixture, or only the iommufd context for tests without hardware. */
void fixture_up(void);
void fixture_down(void);
/* The same without opening the GPU, which has another driver then; ends with fixture_down(). */
void fixture_up_without_gpu(void);
void context_up(void);
void context_down(void);

/* mmap() a range of the GPU's BAR. */
uint8_t *bar_mmap(uint64_t offset, size_t length);

/* Return whether memory decoding of the device is on. */
bool decodes(struct pb_device *device);

struct pb_buffer *export_ranges(const struct pb_range *ranges, unsigned int n);
struct pb_buffer *export_one(uint64_t offset, uint64_t length);
struct pb_mapping *map_rw(struct pb_buffer *buffer);

/*
 * Write LEN bytes of a new pattern to an IOVA with edu.
 *
 * dma_lands() checks that they arrive in the GPU's BAR at @offset, in the host's view. dma_faults()
 * checks that no byte changes and that the IOMMU reports edu and an address within the DMA, and
 * declares the faults.
 */
void dma_lands(uint64_t iova, uint64_t offset);
void dma_faults(uint64_t iova, uint64_t offset);
/*
 * The same for a DMA read: checks that edu got none of the bytes at @offset of the BAR, which must
 * not all be zero. fixture.memory must have two pages.
 */
void dma_read_faults(uint64_t iova, uint64_t offset);
/* A DMA read by a device that is attached to no address space. */
void dma_read_from_nowhere(uint64_t iova);
/*
 * Check that faults happened since @before, that the last is of the function @bdf and of this
 * direction, within [iova, iova + length), and declare them.
 */
void faulted(unsigned int before, const char *bdf, uint64_t iova, uint64_t length, bool write,
	     const char *why);

/* Declare all faults since @before as expected. Return their number. */
unsigned int faults_since(unsigned int before, const char *why);

/* Map and unmap memory in fixture.ioas behind the library's back. */
void stranger_maps(void *p, uint64_t length, uint64_t iova);
void stranger_unmaps(uint64_t iova, uint64_t length);

/* Return the offset of a capability in configuration space. Fail the test if there is none. */
uint8_t find_capability(struct pb_device *device, uint8_t id);

/* Pass descriptors to another process. */
int socketpair_cloexec(int sockets[2]);
void send_fd(int socket, int fd);
int receive_fd(int socket);

/* In a forked process: open the GPU in an iommufd of its own, with decoding on; exits if it cannot. */
void open_own_gpu(void);

/* Run a shell command. Return its status, as system() does. */
int shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Count the descriptors that this process has open. */
unsigned int count_fds(void);
/* Write a word to a file, e.g. in sysfs. */
void write_file(const char *path, const char *word);
/* Open the kernel's log at its end. */
int log_open(void);
/* Return whether a line since log_open() contains @words. Closes @fd. */
bool log_has(int fd, const char *words);
/* Count the attachments of a dma-buf in debugfs; -1 without debugfs. */
int count_attachments(struct pb_buffer *buffer);

#endif
