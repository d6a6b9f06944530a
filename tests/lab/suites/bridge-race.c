// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Races of bridged dma-bufs: moves, revokes, restores and kills by the exporter; bridging, mapping
 * and unmapping; closed descriptors, and killed processes. LAB_BRIDGE_OPS is the number of
 * operations, 3,000 by default.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "modules.h"
#include "raw-ioctl.h"
#include "vram.h"

#define SEGMENTS 6
#define MAPPERS	 2

static unsigned int wanted;
static unsigned int done;
static int fds[2]; /* two dma-bufs, so that bridges of one live while the other is revoked */

static bool finished(void)
{
	return __atomic_load_n(&done, __ATOMIC_SEQ_CST) >= wanted;
}

static void count(void)
{
	__atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
}

/* An operation may lose a race, but only in these ways. */
static void may_fail(int ret, const char *what)
{
	switch (ret < 0 ? -ret : 0) {
	case 0:
	case ENODEV:
	case EBUSY:
	case EAGAIN:
	case EINTR:
	case EOPNOTSUPP: /* it is in system memory */
		break;
	default:
		lab_die("%s: %s", what, strerror(-ret));
	}
	count();
}

static int bridge_raw(int dev, int fd, uint32_t flags, struct peerbar_bridge_range *ranges)
{
	struct peerbar_bridge r = { .size = sizeof(r),
				    .fd = fd,
				    .iommufd = pb_iommu_fd(fixture.iommu),
				    .flags = flags,
				    .nr_ranges = SEGMENTS,
				    .ranges = (uintptr_t)ranges };

	return raw_ioctl(dev, PEERBAR_BRIDGE, &r);
}

/* Bridge, map some ranges, close the descriptors before or after, unmap. */
static void *map_loop(void *arg)
{
	unsigned int id = (unsigned int)(uintptr_t)arg, seed = id, i, mapped;
	struct peerbar_bridge_range ranges[SEGMENTS];
	int dev = raw_open("/dev/peerbar"), ret;
	uint64_t base = 0x40000000 + id * 1024 * MIB, iova;

	while (!finished()) {
		ret = bridge_raw(dev, fds[rand_r(&seed) % 2],
				 rand_r(&seed) % 2 ? PEERBAR_BRIDGE_UNPINNED : 0, ranges);
		may_fail(ret, "bridge");
		if (ret)
			continue;
		mapped = 0;
		for (i = 0; i < SEGMENTS; i++) {
			iova = base + i * 4 * MIB;
			ret = rand_r(&seed) % 4 ?
				raw_map_file(pb_iommu_fd(fixture.iommu), pb_ioas_id(fixture.ioas),
					     ranges[i].fd, 0, ranges[i].length, 7, &iova) :
				-EBUSY;
			may_fail(ret, "map");
			mapped |= !ret << i;
			if (rand_r(&seed) % 2) {
				close(ranges[i].fd);
				ranges[i].fd = -1;
			}
		}
		for (i = 0; i < SEGMENTS; i++) {
			if (mapped & 1 << i)
				may_fail(raw_unmap(pb_iommu_fd(fixture.iommu),
						   pb_ioas_id(fixture.ioas), base + i * 4 * MIB,
						   ranges[i].length),
					 "unmap");
			if (ranges[i].fd >= 0)
				close(ranges[i].fd);
		}
	}
	close(dev);
	return NULL;
}

static void *move_loop(void *arg)
{
	static const enum peerbar_test_place places[] = { PEERBAR_TEST_PLACE_A,
							  PEERBAR_TEST_PLACE_B,
							  PEERBAR_TEST_PLACE_SYSTEM };
	unsigned int seed = 77;

	while (!finished()) {
		may_fail(test_move(vram_exporter, fds[rand_r(&seed) % 2],
				   places[rand_r(&seed) % 3]),
			 "move");
		usleep(rand_r(&seed) % 2000);
	}
	return arg;
}

static void *revoke_loop(void *arg)
{
	unsigned int seed = 88;

	while (!finished()) {
		int fd = fds[rand_r(&seed) % 2];

		may_fail(test_revoke(vram_exporter, fd), "revoke");
		usleep(rand_r(&seed) % 1000);
		may_fail(test_restore(vram_exporter, fd), "restore");
		usleep(rand_r(&seed) % 5000);
	}
	return arg;
}

static void *kill_loop(void *arg)
{
	struct peerbar_bridge_range ranges[SEGMENTS];
	unsigned int seed = 99;
	pid_t child;

	while (!finished()) {
		child = fork();
		if (!child) {
			int dev = raw_open("/dev/peerbar");

			for (;;)
				bridge_raw(dev, fds[0], rand_r(&seed) % 2, ranges);
		}
		usleep(rand_r(&seed) % 20000);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		count();
	}
	return arg;
}

static void race_up(void)
{
	const char *ops = getenv("LAB_BRIDGE_OPS");

	wanted = ops ? (unsigned int)atoi(ops) : 3000;
	module_load("peerbar-iommufd");
	vram_up();
	fixture_up_without_gpu();
}

static void race_down(void)
{
	fixture_down();
	vram_down();
}

START_TEST(everything_at_once)
{
	struct peerbar_test_where w;
	pthread_t threads[MAPPERS + 3];
	unsigned int i, before = count_listed();

	fds[0] = vram_export_scattered(0, SEGMENTS, NULL);
	fds[1] = vram_export_scattered(0, SEGMENTS, NULL);
	for (i = 0; i < MAPPERS; i++)
		pthread_create(&threads[i], NULL, map_loop, (void *)(uintptr_t)i);
	pthread_create(&threads[MAPPERS], NULL, move_loop, NULL);
	pthread_create(&threads[MAPPERS + 1], NULL, revoke_loop, NULL);
	pthread_create(&threads[MAPPERS + 2], NULL, kill_loop, NULL);
	for (i = 0; i < MAPPERS + 3; i++)
		pthread_join(threads[i], NULL);
	printf("%u operations\n", done);
	/* Nothing is left. */
	for (i = 0; i < 500 && count_listed() != before; i++)
		usleep(10000);
	ck_assert_uint_eq(count_listed(), before);
	for (i = 0; i < 2; i++) {
		ck_assert_int_eq(test_restore(vram_exporter, fds[i]), 0);
		ck_assert_int_eq(test_where(vram_exporter, fds[i], PEERBAR_TEST_PLACE_HERE, 0, &w),
				 0);
		ck_assert_uint_eq(w.pins, 0);
		ck_assert_uint_eq(w.maps, 0);
		ck_assert_int_eq(test_move(vram_exporter, fds[i], PEERBAR_TEST_PLACE_A),
				 PEERBAR_TEST_PLACE_A);
		close(fds[i]);
	}
}
END_TEST

LAB_SUITE("bridge-race", 0)
{
	tcase_add_test(suite_case(s, "all", 900, race_up, race_down), everything_at_once);
}
