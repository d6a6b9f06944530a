/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The bench that the tests work on: the GPU as exporter, edu as DMA engine in one address space, memory for patterns. Each test gets a
 * new one, in a process of its own, and afterwards it is checked that no descriptor is left, and no fault happened that was not expected.
 */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <signal.h>
#include <sys/mman.h>

#include "../sentence.h"
#include "lab.h"

#define RW (PB_MAP_READ | PB_MAP_WRITE)
#define MEMORY_IOVA (1 * MIB) /* of the bench's memory: where the tests know what is beside it */
#define LEN 1024 /* bytes of a DMA, where the number does not matter */

extern struct pb_error err;
extern struct pb_iommu *iommu;
extern struct pb_device *gpu;
extern struct pb_device *edu_device;
extern struct pb_ioas *ioas; /* edu is attached to it */
extern struct edu edu;
extern struct lab_memory memory; /* four pages, mapped in ioas */

/* what a test case calls: the bench, and for those without hardware only the iommufd context */
void bench_up(void);
void bench_down(void);
void context_up(void);
void context_down(void);

/* the GPU's BAR as the CPU sees it */
uint8_t *bar_mmap(uint64_t offset, size_t length);

/* whether memory decoding of the device is on */
bool decodes(struct pb_device *device);

struct pb_buffer *export_ranges(const struct pb_range *ranges, unsigned int n);
struct pb_buffer *export_one(uint64_t offset, uint64_t length);
struct pb_mapping *map_rw(struct pb_buffer *buffer);

/*
 * DMA by edu of LEN bytes of a new pattern to an IOVA, and whether it arrived in the GPU's BAR at @offset, as the host sees it.
 * dma_faults() says that no byte changed and that the IOMMU named edu and an address within the DMA; the faults are announced.
 */
void dma_lands(uint64_t iova, uint64_t offset);
void dma_faults(uint64_t iova, uint64_t offset);
/* the same for a DMA that reads: nothing arrives */
void dma_read_faults(uint64_t iova);
/* a DMA read of a device that is attached to nothing */
void dma_read_from_nowhere(uint64_t iova);
/* faults happened since @before, by the function @bdf, writing or reading in [iova, iova + length); they are announced */
void faulted(unsigned int before, const char *bdf, uint64_t iova, uint64_t length, bool write, const char *why);

/* whatever faults happened since @before were to be expected: they are announced; how many */
unsigned int faults_since(unsigned int before, const char *why);

/* map memory in ioas, and unmap, as a program would that does not use the library */
void stranger_maps(void *p, uint64_t length, uint64_t iova);
void stranger_unmaps(uint64_t iova, uint64_t length);

/* where a capability is in configuration space; it is there */
uint8_t find_capability(struct pb_device *device, uint8_t id);

/* descriptors to another process */
int socketpair_cloexec(int sockets[2]);
void send_fd(int socket, int fd);
int receive_fd(int socket);

/* descriptors that this process has open */
unsigned int count_fds(void);
/* whether the kernel's log has a line with these words */
bool log_says(const char *words);
/* attachments of a dma-buf, as debugfs lists them; -1 without debugfs */
int count_attachments(struct pb_buffer *buffer);

/* the suites */
Suite *device_suite(void);
Suite *export_suite(void);
Suite *map_suite(void);
Suite *dma_suite(void);
Suite *revoke_suite(void);
Suite *stress_suite(void);
Suite *plug_suite(void);
Suite *guest_suite(void);
Suite *guest_random_suite(void);
Suite *tool_suite(void);
/* of our modules */
Suite *mmap_suite(void);
Suite *kill_suite(void);
Suite *late_suite(void);
Suite *limits_suite(void);
Suite *teardown_suite(void);
Suite *model_suite(void);
Suite *events_suite(void);
Suite *fuzz_suite(void);
Suite *inject_suite(void);
Suite *nop2p_suite(void);
/* of the verbs device */
Suite *rdma_suite(void);
Suite *rdma_memory_suite(void);
Suite *rdma_revoke_suite(void);
Suite *rdma_race_suite(void);
Suite *rdma_data_suite(void);
Suite *rdma_budget_suite(void);
Suite *rdma_objects_suite(void);
Suite *verbs_suite(void);

#endif
