// SPDX-License-Identifier: GPL-2.0
/*
 * The memory of the test exporter's dma-bufs: a place is system memory, or ranges of a BAR.
 */
#include <linux/dma-resv.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "exporter.h"

static void *test_address(struct test_buffer *t, unsigned int place, phys_addr_t paddr)
{
	return t->places[place].bar ? t->vram->base + (paddr - t->vram->start) :
				      phys_to_virt(paddr);
}

/* Allocate pages for each element of @p->vec, whose lengths are set. */
int test_place_alloc(struct test_place *p)
{
	unsigned int i;
	void *pages;

	for (i = 0; i < p->nr; i++) {
		pages = alloc_pages_exact(p->vec[i].len, GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN);
		if (!pages)
			goto err;
		p->vec[i].paddr = virt_to_phys(pages);
	}
	return 0;

err:
	p->nr = i;
	test_place_free(p);
	return -ENOMEM;
}

void test_place_free(struct test_place *p)
{
	unsigned int i;

	for (i = 0; !p->bar && i < p->nr; i++)
		free_pages_exact(phys_to_virt(p->vec[i].paddr), p->vec[i].len);
	kvfree(p->vec);
	*p = (struct test_place){};
}

void test_buffer_free(struct test_buffer *t)
{
	unsigned int place;

	test_copy_end(t);
	for (place = 0; place < TEST_PLACES; place++)
		test_place_free(&t->places[place]);
	mutex_destroy(&t->move_lock);
	kfree(t);
}

struct test_buffer *test_buffer_new(enum peerbar_model model)
{
	struct test_buffer *t;

	t = kzalloc_obj(*t);
	if (!t)
		return NULL;
	mutex_init(&t->move_lock);
	init_waitqueue_head(&t->drained);
	t->model = model;
	return t;
}

struct test_buffer *test_buffer_alloc(const struct peerbar_test_export *arg)
{
	struct test_buffer *t = test_buffer_new(arg->model);
	struct test_place *p;
	unsigned int i;

	if (!t)
		return ERR_PTR(-ENOMEM);
	for (p = t->places; p < t->places + (t->model == PEERBAR_MODEL_DYNAMIC ? 2 : 1); p++) {
		p->vec = kvcalloc(arg->nr_ranges, sizeof(*p->vec), GFP_KERNEL);
		if (!p->vec)
			goto err;
		p->nr = arg->nr_ranges;
		for (i = 0; i < p->nr; i++)
			p->vec[i].len = arg->lengths[i];
		if (test_place_alloc(p))
			goto err;
	}
	for (i = 0; i < arg->nr_ranges; i++)
		t->size += arg->lengths[i];
	if (t->model == PEERBAR_MODEL_DYNAMIC)
		test_poison(t, TEST_PLACE_B);
	return t;

err:
	test_buffer_free(t);
	return ERR_PTR(-ENOMEM);
}

void test_poison(struct test_buffer *t, unsigned int place)
{
	const struct test_place *p = &t->places[place];
	unsigned int i;

	for (i = 0; i < p->nr; i++) {
		memset(test_address(t, place, p->vec[i].paddr), PEERBAR_TEST_POISON, p->vec[i].len);
		cond_resched();
	}
}

/* Find the range that contains a byte of a place; NULL past the end. */
static const struct phys_vec *test_range(const struct test_place *p, u64 *offset)
{
	unsigned int i;

	for (i = 0; i < p->nr; i++) {
		if (*offset < p->vec[i].len)
			return &p->vec[i];
		*offset -= p->vec[i].len;
	}
	return NULL;
}

int test_paddr(struct test_buffer *t, unsigned int place, u64 offset, phys_addr_t *paddr)
{
	const struct phys_vec *vec = test_range(&t->places[place], &offset);

	if (!vec)
		return -ERANGE;
	*paddr = vec->paddr + offset;
	return 0;
}

/* The address of a byte of a place, and in @left the contiguous bytes; NULL past the end. */
static void *test_at(struct test_buffer *t, unsigned int place, u64 offset, size_t *left)
{
	const struct phys_vec *vec = test_range(&t->places[place], &offset);

	if (!vec)
		return NULL;
	*left = vec->len - offset;
	return test_address(t, place, vec->paddr + offset);
}

void test_copy_place(struct test_buffer *t, unsigned int from, unsigned int to)
{
	size_t src_left, dst_left, step, done;
	void *src, *dst;

	for (done = 0; done < t->size; done += step) {
		src = test_at(t, from, done, &src_left);
		dst = test_at(t, to, done, &dst_left);
		step = min(src_left, dst_left);
		memcpy(dst, src, step);
		cond_resched();
	}
}

/* Caller holds the reservation lock and @move_lock; nothing accesses the old place any more. */
int test_change_place(struct peerbar_buffer *buf, void *arg)
{
	struct test_buffer *t = arg;

	dma_resv_assert_held(t->dmabuf->resv);
	lockdep_assert_held(&t->move_lock);
	test_copy_place(t, t->place, !t->place);
	t->place = !t->place;
	t->moves++;
	return 0;
}

/* Resolve enum peerbar_test_place to an index of @t->places. */
int test_place(struct test_buffer *t, u32 asked, unsigned int *place)
{
	switch (asked) {
	case PEERBAR_TEST_PLACE_HERE:
		*place = t->place;
		break;
	case PEERBAR_TEST_PLACE_THERE:
		*place = t->place == TEST_PLACE_A ? TEST_PLACE_B : TEST_PLACE_A;
		break;
	case PEERBAR_TEST_PLACE_A:
	case PEERBAR_TEST_PLACE_B:
	case PEERBAR_TEST_PLACE_SYSTEM:
		*place = asked - PEERBAR_TEST_PLACE_A;
		break;
	default:
		return -EINVAL;
	}
	if (*place == TEST_PLACE_SYSTEM)
		return t->vram ? 0 : -ENXIO;
	return t->places[*place].nr ? 0 : -ENXIO;
}

/* Copy between @bytes and a place. */
int test_copy(struct test_buffer *t, const struct peerbar_test_io *arg, void *bytes, bool write)
{
	size_t left, step, done;
	unsigned int place;
	void *p;
	int ret;

	ret = dma_resv_lock_interruptible(t->dmabuf->resv, NULL);
	if (ret)
		return ret;
	ret = test_place(t, arg->place, &place);
	/* System memory of VRAM is allocated by the first migration. */
	if (!ret && !t->places[place].nr)
		ret = -ENXIO;
	for (done = 0; !ret && done < arg->length; done += step) {
		/* Not past the end: the caller has checked. */
		p = test_at(t, place, arg->offset + done, &left);
		step = min(left, arg->length - done);
		if (write)
			memcpy(p, bytes + done, step);
		else
			memcpy(bytes + done, p, step);
	}
	dma_resv_unlock(t->dmabuf->resv);
	return ret;
}
