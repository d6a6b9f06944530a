// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Prove by DMA of an NVMe controller that a function reaches the memory of another one. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dma-proof.h"

#define SIZE PBT_NVME_PAGE

/* The engine's memory, one page of the controller each. */
enum { SQ, CQ, DATA, PAGES };

static uint8_t *memory_page(const struct pbt_engine *engine, int n)
{
	return (uint8_t *)engine->memory + n * SIZE;
}

static uint64_t memory_iova(const struct pbt_engine *engine, int n)
{
	return pb_mapping_iova(engine->mapping) + (uint64_t)n * SIZE;
}

/* Whole pages of the host, which may be larger. */
static size_t memory_size(void)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return ((size_t)PAGES * SIZE + page - 1) / page * page;
}

/* Report the result @ret, not 0, of a command that does @what. */
static int fail_command(const struct pbt_engine *engine, int ret, const char *what,
			struct pb_error *err)
{
	const char *bdf = pb_device_bdf(engine->nvme.device);

	switch (ret) {
	case -ETIMEDOUT:
		return pbt_fail(err, ETIMEDOUT, "%s does not complete a command that %s", bdf,
				what);
	case -ENODEV:
		return pbt_fail(err, ENODEV, "%s no longer answers, since it got a command that %s",
				bdf, what);
	case -EIO:
		return pbt_fail(err, EIO,
				"%s reports a fatal status, since it got a command that %s", bdf,
				what);
	default:
		return pbt_fail(err, EIO, "%s fails a command that %s, with the NVMe status 0x%03x",
				bdf, what, (unsigned int)ret);
	}
}

/* "VERB BAR 2 of 0000:01:00.0 at 0x0" */
static const char *name_page(const struct pbt_dma_page *page, const char *verb, char text[120])
{
	snprintf(text, 120, "%s BAR %u of %s at 0x%" PRIx64, verb, page->bar,
		 pb_device_bdf(page->device), page->offset);
	return text;
}

static struct pbt_nvme_command identify_to(uint64_t iova)
{
	return (struct pbt_nvme_command){ .opcode = PBT_NVME_IDENTIFY,
					  .prp1 = iova,
					  .dw10 = PBT_NVME_CONTROLLER };
}

int pbt_engine_start(struct pbt_engine *engine, struct pb_device *device, struct pb_ioas *ioas,
		     struct pb_error *err)
{
	struct pbt_nvme_queues *queues = &engine->nvme.queues[0];
	struct pbt_nvme_command command;
	void *p;
	int ret;

	memset(engine, 0, sizeof(*engine));
	p = mmap(NULL, memory_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return pbt_fail(err, ENOMEM, "there is no memory for the controller's queues");
	engine->memory = p;
	ret = pb_map_memory(ioas, p, memory_size(), PB_MAP_READ | PB_MAP_WRITE, 0, &engine->mapping,
			    err);
	if (!ret)
		ret = pbt_nvme_open(&engine->nvme, device, err);
	if (ret)
		return ret;
	queues->sq = (struct pbt_nvme_command *)memory_page(engine, SQ);
	queues->sq_iova = memory_iova(engine, SQ);
	queues->cq = (struct pbt_nvme_completion *)memory_page(engine, CQ);
	queues->cq_iova = memory_iova(engine, CQ);
	ret = pbt_nvme_enable(&engine->nvme, err);
	if (ret)
		return ret;
	command = identify_to(memory_iova(engine, DATA));
	ret = pbt_nvme_submit(&engine->nvme, 0, &command);
	if (ret)
		return fail_command(engine, ret, "writes to ordinary memory", err);
	memcpy(engine->identity, memory_page(engine, DATA), SIZE);
	return pbt_nvme_disable(&engine->nvme, err);
}

void pbt_engine_stop(struct pbt_engine *engine)
{
	pbt_nvme_close(&engine->nvme);
	pb_unmap(engine->mapping, NULL);
	if (engine->memory)
		munmap(engine->memory, memory_size());
	memset(engine, 0, sizeof(*engine));
}

/* ---- the page ---- */

static int read_page(const struct pbt_dma_page *page, void *data, struct pb_error *err)
{
	return pb_device_read(page->device, page->bar, page->offset, data, SIZE, err);
}

static int write_page(const struct pbt_dma_page *page, const void *data, struct pb_error *err)
{
	return pb_device_write(page->device, page->bar, page->offset, data, SIZE, err);
}

/* Save the page's bytes to @saved, write @bytes to it, and check that it keeps them. */
static int fill_page(const struct pbt_dma_page *page, const uint8_t *bytes, uint8_t *saved,
		     struct pb_error *err)
{
	uint8_t now[SIZE];
	bool on = false;
	int ret;

	ret = pb_device_decoding(page->device, &on, err);
	if (ret)
		return ret;
	if (!on)
		return pbt_fail(err, ENODEV,
				"memory decoding of %s is off, and its buffers are revoked",
				pb_device_bdf(page->device));
	ret = read_page(page, saved, err);
	if (ret)
		return ret;
	ret = write_page(page, bytes, err);
	if (!ret)
		ret = read_page(page, now, err);
	if (!ret && memcmp(now, bytes, SIZE))
		ret = pbt_fail(err, ENXIO,
			       "BAR %u of %s has no memory at 0x%" PRIx64
			       ": it does not keep what is written",
			       page->bar, pb_device_bdf(page->device), page->offset);
	if (ret)
		write_page(page, saved, NULL);
	return ret;
}

/*
 * Write the bytes back, when no DMA can overwrite them any more. Returns @ret, the result so far,
 * unless that fails.
 */
static int put_back(struct pbt_engine *engine, const struct pbt_dma_page *page,
		    const uint8_t *saved, int ret, struct pb_error *err)
{
	struct pb_error second = { 0 };
	uint8_t now[SIZE];
	int failed;

	failed = pbt_nvme_disable(&engine->nvme, &second);
	if (failed && !ret) {
		ret = failed;
		*err = second;
	}
	failed = write_page(page, saved, &second);
	if (!failed)
		failed = read_page(page, now, &second);
	if (!failed && !memcmp(now, saved, SIZE))
		return ret;
	return pbt_fail(err, ENOTRECOVERABLE,
			"the old bytes of BAR %u of %s at 0x%" PRIx64
			" could not be written back%s%.200s",
			page->bar, pb_device_bdf(page->device), page->offset, failed ? ": " : "",
			failed ? second.text : "");
}

/* ---- the proofs ---- */

/*
 * Wait until the page has these bytes, a second at most: the completion in memory can overtake
 * them, on another path.
 */
static int await_bytes(const struct pbt_engine *engine, const struct pbt_dma_page *page,
		       const uint8_t *bytes, const uint8_t *before, struct pb_error *err)
{
	unsigned int i, arrived, changed, tries;
	uint8_t now[SIZE];
	char what[120];
	int ret;

	for (tries = 0; tries < 100; tries++) {
		ret = read_page(page, now, err);
		if (ret)
			return ret;
		if (!memcmp(now, bytes, SIZE))
			return 0;
		usleep(10000);
	}
	for (i = arrived = changed = 0; i < SIZE; i++) {
		arrived += now[i] == bytes[i];
		changed += now[i] != before[i];
	}
	if (!changed)
		return pbt_fail(err, EIO,
				"%s completes a command that %s, but nothing arrives there",
				pb_device_bdf(engine->nvme.device),
				name_page(page, "writes to", what));
	return pbt_fail(err, EIO, "of the %d bytes that %s %s, %u arrive", SIZE,
			pb_device_bdf(engine->nvme.device), name_page(page, "writes to", what),
			arrived);
}

int pbt_prove_write(struct pbt_engine *engine, const struct pbt_dma_page *page,
		    struct pb_error *err)
{
	struct pbt_nvme_command command = identify_to(page->iova);
	uint8_t fill[SIZE], saved[SIZE];
	char what[120];
	int i, ret;

	/* Every byte must change. */
	for (i = 0; i < SIZE; i++)
		fill[i] = (uint8_t)~engine->identity[i];
	ret = fill_page(page, fill, saved, err);
	if (ret)
		return ret;
	ret = pbt_nvme_enable(&engine->nvme, err);
	if (!ret) {
		ret = pbt_nvme_submit(&engine->nvme, 0, &command);
		if (ret)
			ret = fail_command(engine, ret, name_page(page, "writes to", what), err);
		else
			ret = await_bytes(engine, page, engine->identity, fill, err);
	}
	return put_back(engine, page, saved, ret, err);
}

int pbt_prove_read(struct pbt_engine *engine, const struct pbt_dma_page *page, struct pb_error *err)
{
	struct pbt_nvme_command command = identify_to(memory_iova(engine, DATA));
	struct pbt_nvme_queues *queues = &engine->nvme.queues[0];
	const uint64_t sq_iova = queues->sq_iova;
	uint8_t fill[SIZE] = { 0 }, saved[SIZE], *data = memory_page(engine, DATA);
	char what[120];
	int i, ret;

	/* The first command of a submission queue in the page. */
	memcpy(fill, &command, sizeof(command));
	ret = fill_page(page, fill, saved, err);
	if (ret)
		return ret;
	for (i = 0; i < SIZE; i++)
		data[i] = (uint8_t)~engine->identity[i];
	queues->sq_iova = page->iova;
	ret = pbt_nvme_enable(&engine->nvme, err);
	queues->sq_iova = sq_iova;
	if (!ret) {
		ret = pbt_nvme_ring(&engine->nvme, 0);
		if (ret)
			ret = fail_command(engine, ret, name_page(page, "it must read from", what),
					   err);
		else if (memcmp(data, engine->identity, SIZE))
			ret = pbt_fail(err, EIO, "%s executes another command than the one that %s",
				       pb_device_bdf(engine->nvme.device),
				       name_page(page, "it must read from", what));
	}
	return put_back(engine, page, saved, ret, err);
}
