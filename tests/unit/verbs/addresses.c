// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Registration by address. */
#include <sys/mman.h>

#include "../../sentence.h"
#include "mock.h"

START_TEST(lines_of_maps)
{
	static const char *const bad[] = { "", "\n", "7f00-7f", "no line at all",
					   "7f0000-7f1000 rw-s 0000\n" };
	struct pbv_vma vma;
	size_t i;

	ck_assert(
		pbv_parse_maps("7f0011000000-7f0011003000 rw-s 00002000 00:0c 77                         /dmabuf:0000:01:00.0 "
			       "BAR 2\n",
			       &vma));
	ck_assert_uint_eq(vma.start, 0x7f0011000000);
	ck_assert_uint_eq(vma.end, 0x7f0011003000);
	ck_assert_uint_eq(vma.offset, 0x2000);
	ck_assert_uint_eq(vma.major, 0);
	ck_assert_uint_eq(vma.minor, 12);
	ck_assert_uint_eq(vma.inode, 77);
	ck_assert(vma.writable && vma.shared && vma.dmabuf);
	ck_assert(pbv_parse_maps("7f0011000000-7f0011003000 r--s 00000000 00:0c 77 /dmabuf:\n",
				 &vma));
	ck_assert(!vma.writable && vma.dmabuf);
	/* A private mapping is memory of its own. */
	ck_assert(pbv_parse_maps("7f0011000000-7f0011003000 rw-p 00000000 00:0c 77 /dmabuf:\n",
				 &vma));
	ck_assert(!vma.dmabuf);
	ck_assert(pbv_parse_maps("7f0011000000-7f0011003000 rw-p 00000000 00:00 0 \n", &vma));
	ck_assert(!vma.dmabuf);
	ck_assert(pbv_parse_maps("7f0011000000-7f0011003000 rw-s 00000000 08:01 77 /tmp/dmabuf:\n",
				 &vma));
	ck_assert(!vma.dmabuf);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(!pbv_parse_maps(bad[i], &vma), "'%s' was taken for a line", bad[i]);
}
END_TEST

/* Return 1 if the address is a buffer's, 0 if not, or a negative errno. @where may be NULL. */
static int look_up(struct pbv_space *space, const void *p, size_t length, struct pb_buffer **where,
		   uint64_t *offset, struct pb_error *err)
{
	struct pb_buffer *found = NULL;
	int ret = pbv_lookup(space, p, length, &found, offset, err);

	if (ret)
		return ret;
	ret = !!found;
	if (where)
		*where = found;
	else
		pb_buffer_close(found);
	return ret;
}

START_TEST(a_register_of_mappings)
{
	char *p = (char *)0x7e0000000000;
	struct pbv_space *space;
	struct pb_buffer *found = NULL;
	uint64_t offset;

	ok(pbv_space_create(&space, &err));
	ok(pbv_space_add(space, p + 16 * PAGE, 4 * PAGE, buffer, 8 * PAGE, &err));
	ok(pbv_space_add(space, p, PAGE + 1, &buffers[1], 0, &err));
	/* Adjacent, in memory and in the buffer. */
	ok(pbv_space_add(space, p + 20 * PAGE, 4 * PAGE, buffer, 12 * PAGE, &err));
	/* Adjacent in memory, but not in the buffer. */
	ok(pbv_space_add(space, p + 24 * PAGE, 4 * PAGE, buffer, 0, &err));
	refused(pbv_space_add(space, p + 19 * PAGE, PAGE, buffer, 0, &err), EEXIST, "registered");
	refused(pbv_space_add(space, p + PAGE, PAGE, buffer, 0, &err), EEXIST, "registered");
	refused(pbv_space_add(space, p + 15 * PAGE, 99 * PAGE, buffer, 0, &err), ERANGE, "size is");
	refused(pbv_space_add(space, p + 1, PAGE, buffer, 0, &err), EINVAL, "multiples");
	refused(pbv_space_add(space, p + 40 * PAGE, PAGE, buffer, 1, &err), EINVAL, "multiples");
	refused(pbv_space_add(space, p + 40 * PAGE, 0, buffer, 0, &err), EINVAL, "multiples");
	refused(pbv_space_add(space, p + 40 * PAGE, 2 * PAGE, buffer, 63 * PAGE, &err), ERANGE,
		"size is");
	refused(pbv_space_add(space, (void *)-PAGE, 2 * PAGE, buffer, 0, &err), ERANGE, "size is");

	ck_assert_int_eq(look_up(space, p + 17 * PAGE + 3, 5, &found, &offset, NULL), 1);
	ck_assert_uint_eq(pb_buffer_id(found), 100);
	ck_assert_uint_eq(offset, 9 * PAGE + 3);
	pb_buffer_close(found);
	ck_assert_int_eq(look_up(space, p + 16 * PAGE, 8 * PAGE, NULL, NULL, NULL), 1);
	refused(look_up(space, p + 16 * PAGE, 8 * PAGE + 1, &found, &offset, &err), ERANGE,
		"end elsewhere");
	refused(look_up(space, p + 27 * PAGE, 2 * PAGE, &found, &offset, &err), ERANGE,
		"end elsewhere");
	ck_assert_int_eq(look_up(space, p, 2 * PAGE, &found, &offset, NULL), 1);
	ck_assert_uint_eq(pb_buffer_id(found), 101);
	ck_assert_uint_eq(offset, 0);
	pb_buffer_close(found);
	/* Nothing is registered there. */
	ck_assert_int_eq(look_up(space, p + 2 * PAGE, PAGE, &found, &offset, NULL), 0);
	ck_assert_int_eq(look_up(space, p + 28 * PAGE, PAGE, &found, &offset, NULL), 0);
	refused(look_up(space, p, 0, &found, &offset, &err), EINVAL, "length");
	refused(look_up(space, (void *)-PAGE, 2 * PAGE, &found, &offset, &err), ERANGE, "2^64");

	ok(pbv_space_remove(space, p + 16 * PAGE, &err));
	refused(pbv_space_remove(space, p + 16 * PAGE, &err), ENOENT, "no mapping");
	refused(pbv_space_remove(space, p + PAGE, &err), ENOENT, "no mapping");
	ck_assert_int_eq(look_up(space, p + 16 * PAGE, PAGE, &found, &offset, NULL), 0);
	ck_assert_int_eq(look_up(space, p + 21 * PAGE, PAGE, NULL, &offset, NULL), 1);
	ck_assert_uint_eq(offset, 13 * PAGE);
	pbv_space_destroy(space);
	pbv_space_destroy(NULL);
}
END_TEST

START_TEST(many_mappings)
{
	struct pbv_space *space;
	uint64_t offset;
	unsigned int i;

	ok(pbv_space_create(&space, &err));
	/* Out of order. */
	for (i = 0; i < 1000; i++)
		ok(pbv_space_add(space, (void *)(0x7e0000000000 + (i * 7 % 1000) * 2 * PAGE), PAGE,
				 buffer, (i * 7 % 64) * PAGE, &err));
	for (i = 0; i < 1000; i++) {
		ck_assert_int_eq(look_up(space,
					 (void *)(0x7e0000000000 + (i * 7 % 1000) * 2 * PAGE + 9),
					 1, NULL, &offset, NULL),
				 1);
		ck_assert_uint_eq(offset, (i * 7 % 64) * PAGE + 9);
	}
	pbv_space_destroy(space);
}
END_TEST

START_TEST(addresses)
{
	struct pbv_space *space;
	static char memory[100];
	struct pbv_mr *mr;
	void *shared;

	ok(pbv_space_create(&space, &err));
	ok(pbv_space_add(space, (void *)0x7e0000000000, 4 * PAGE, buffer, 8 * PAGE, &err));
	ok(pbv_reg_address(space, the_pd, (void *)0x7e0000000123, 5, RW, 0, &mr, &err));
	ck_assert_uint_eq(pbv_mr_iova(mr), 0x7e0000000123);
	ck_assert_uint_eq(pbv_mr_offset(mr), 8 * PAGE + 0x123);
	ck_assert_uint_eq(pb_buffer_id(pbv_mr_buffer(mr)), 100);
	ok(pbv_dereg(mr, &err));
	/* Ordinary memory, with a space and without, private and shared. */
	ok(pbv_reg_address(space, the_pd, memory, sizeof(memory), RW, 0, &mr, &err));
	ck_assert_ptr_null(pbv_mr_buffer(mr));
	ck_assert_uint_eq(pbv_mr_iova(mr), (uintptr_t)memory);
	ck_assert_int_eq(pbv_mr_state(mr), PBV_LIVE);
	ok(pbv_dereg(mr, &err));
	shared = mmap(NULL, PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ok(pbv_reg_address(NULL, the_pd, shared, PAGE, 0, 0, &mr, &err));
	ok(pbv_dereg(mr, &err));
	munmap(shared, PAGE);
	reg_errno = EFAULT;
	refused(pbv_reg_address(NULL, the_pd, memory, sizeof(memory), RW, 0, &mr, &err), EFAULT,
		"dma-buf");
	reg_errno = ENOMEM;
	refused(pbv_reg_address(NULL, the_pd, memory, sizeof(memory), RW, 0, &mr, &err), ENOMEM,
		"RLIMIT_MEMLOCK");
	reg_errno = EINVAL;
	refused(pbv_reg_address(NULL, the_pd, memory, sizeof(memory), RW, 0, &mr, &err), EINVAL,
		"ibv_reg_mr");
	refused(pbv_reg_address(space, the_pd, memory, 0, RW, 0, &mr, &err), EINVAL, "length");
	reg_errno = 0;
	infos[0].model = PB_DYNAMIC;
	refused(pbv_reg_address(space, the_pd, (void *)0x7e0000000123, 5, RW, 0, &mr, &err),
		EOPNOTSUPP, "DYNAMIC");
	pbv_space_destroy(space);
}
END_TEST

void add_address_tests(TCase *t)
{
	tcase_add_test(t, lines_of_maps);
	tcase_add_test(t, a_register_of_mappings);
	tcase_add_test(t, many_mappings);
	tcase_add_test(t, addresses);
}
