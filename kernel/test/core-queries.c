// SPDX-License-Identifier: GPL-2.0
/*
 * ioctls of the test importer that query the core about a dma-buf: chunks, page frames, the model.
 */
#include <linux/string.h>

#include "importer.h"

static int test_flatten(struct peerbar_test_chunks *arg, const struct peerbar_chunk *chunks,
			size_t nr_chunks)
{
	unsigned int i, j, n = 0;

	if (nr_chunks > PEERBAR_TEST_CHUNKS_MAX)
		return -EOVERFLOW;
	for (i = 0; i < nr_chunks; i++) {
		if (chunks[i].nr_addrs > PEERBAR_TEST_ADDRS_MAX - n)
			return -EOVERFLOW;
		arg->chunks[i].has_provider = !!chunks[i].provider;
		arg->chunks[i].nr_addrs = chunks[i].nr_addrs;
		for (j = 0; j < chunks[i].nr_addrs; j++, n++) {
			arg->addrs[n].addr = chunks[i].addrs[j].paddr;
			arg->addrs[n].len = chunks[i].addrs[j].len;
		}
	}
	arg->nr_chunks = nr_chunks;
	arg->nr_addrs = n;
	return 0;
}

long test_ioctl_chunks(void *priv, unsigned int cmd, void *argp)
{
	struct peerbar_test_chunks *arg = argp;
	struct test_import *p __free(test_import_put) = test_import_get(priv, arg->handle);
	struct peerbar_chunk *chunks;
	size_t nr_chunks;
	int ret;

	if (!p)
		return -ENOENT;
	if (arg->reserved)
		return -EINVAL;
	memset(arg->chunks, 0, sizeof(arg->chunks));
	memset(arg->addrs, 0, sizeof(arg->addrs));
	ret = test_import_lock(p);
	if (ret)
		return ret;
	ret = peerbar_dma_buf_get_chunks(p->attach, &chunks, &nr_chunks);
	if (!ret) {
		ret = test_flatten(arg, chunks, nr_chunks);
		peerbar_chunks_free(chunks, nr_chunks);
	}
	test_import_unlock(p);
	return ret;
}

long test_ioctl_pfn(void *priv, unsigned int cmd, void *argp)
{
	struct peerbar_test_pfn *arg = argp;
	struct test_import *p __free(test_import_put) = test_import_get(priv, arg->handle);
	unsigned long pfn;
	unsigned int order;
	int ret;

	if (!p)
		return -ENOENT;
	if (arg->reserved)
		return -EINVAL;
	ret = test_import_lock(p);
	if (ret)
		return ret;
	ret = peerbar_dma_buf_get_pfn(p->attach, arg->offset, arg->max_order, &pfn, &order);
	if (!ret) {
		arg->pfn = pfn;
		arg->order = order;
	}
	test_import_unlock(p);
	return ret;
}

long test_ioctl_model(void *priv, unsigned int cmd, void *argp)
{
	struct peerbar_test_model *arg = argp;
	struct dma_buf *dmabuf;
	bool declared;

	if (arg->reserved)
		return -EINVAL;
	dmabuf = dma_buf_get(arg->fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	arg->model = peerbar_dma_buf_model(dmabuf, &declared);
	arg->declared = declared;
	dma_buf_put(dmabuf);
	return 0;
}
